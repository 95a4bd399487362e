/** Every call of the port: logged and counted once, when it ends; bounded in time where no handler bounds it. */
import {
  type Metadata,
  type ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerMethodDefinition,
  status,
} from '@grpc/grpc-js';
import { type ErrorReason, SaladError } from '../../errors/index.js';
import type { Logger } from '../../telemetry/logger.js';
import type { Telemetry } from '../../telemetry/telemetry.js';
import { afterReading, SilenceTimer } from '../../wire/silence-timer.js';
import { codeOf, DETAILS_KEY, protocolError, thrownOf, toServiceError } from '../../wire/status.js';
import { cancellation } from './cancellation.js';

export interface OpenCallsOptions {
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  readonly retryDelayMs: number;
  /** From the one request message of a call to the end of its request, in ms. */
  readonly requestEndMs: number;
  /** An answer that is not read for this long ends the call, in ms. */
  readonly unreadMs: number;
}

type Call = ServerInterceptingCallInterface;
type CallListener = Parameters<Call['start']>[0];
type CallEnd = Parameters<Call['sendStatus']>[0];

/** Neither the caller's fault nor ours: worth a line in the log that is kept. */
const WARNED: ReadonlySet<ErrorReason> = new Set(['CREDENTIALS_UNVERIFIABLE']);
/** Probes, every few seconds from every load balancer: not counted. */
const HEALTH = '/grpc.health.v1.Health/';
/** These calls end by `CallTracker`, and limit unread answers by `ResponseWriter`. */
const ACQUISITIONS = '/salad.v1.AnomalyScoring/';

export class OpenCalls {
  private readonly others = new Set<OpenCall>();
  private readonly byMetadata = new WeakMap<Metadata, OpenCall>();

  constructor(private readonly options: OpenCallsOptions) {}

  /**
   * For the server's options, before all interceptors that wrap the call: this one gets grpc-js's own call and changes
   * it, instead of putting another one before it, which would cost every message.
   */
  readonly interceptor: ServerInterceptor = (method, call) => {
    const open = new OpenCall(method, call, this.options);
    const start = call.start.bind(call);
    call.start = (listener) =>
      start(
        open.listener(listener, {
          onStart: (metadata) => {
            this.byMetadata.set(metadata, open);
            if (!open.isAcquisition) this.others.add(open);
          },
          onEnd: () => this.others.delete(open),
        }),
      );
    return call as ServerInterceptingCall;
  };

  /**
   * Sends the error as the status of the call with this metadata. Not through the call's own stream as grpc-js does it:
   * there the status waits behind answers that the client may never take.
   */
  refuse(metadata: Metadata, error: unknown): void {
    this.byMetadata.get(metadata)?.refuse(error);
  }

  /** Ends what is no acquisition: Watch and reflection would never end by themselves. */
  endOthers(error: SaladError): void {
    for (const call of this.others) call.refuse(error);
  }
}

interface Lifetime {
  readonly onStart: (metadata: Metadata) => void;
  readonly onEnd: () => void;
}

class OpenCall {
  readonly isAcquisition: boolean;
  private readonly startedAt = performance.now();
  private requestEnd: SilenceTimer | undefined;
  private unread: SilenceTimer | undefined;
  private isCounted = false;
  /** The HTTP/2 stream is closed. */
  private isGone = false;
  /** Its status was sent. */
  private isOver = false;

  constructor(
    private readonly method: ServerMethodDefinition<unknown, unknown>,
    private readonly call: Call,
    private readonly options: OpenCallsOptions,
  ) {
    this.isAcquisition = method.path.startsWith(ACQUISITIONS);
    // grpc-js ends calls by itself, too (deadline, messages too large or not to be decoded): through this method.
    const sendStatus = call.sendStatus.bind(call);
    call.sendStatus = (end) => sendStatus(this.completed(end));
    const sendMessage = call.sendMessage.bind(call);
    call.sendMessage = (message, callback) => {
      // An answer that waited behind one that was not read, when an error ended the call.
      if (this.isOver) return;
      sendMessage(message, this.isAcquisition ? callback : this.whenRead(callback));
    };
  }

  refuse(error: unknown): void {
    const { code, details, metadata } = toServiceError(error, this.options.retryDelayMs);
    this.call.sendStatus({ code, details, metadata });
  }

  listener(next: CallListener, { onStart, onEnd }: Lifetime): CallListener {
    return {
      onReceiveMetadata: (metadata) => {
        onStart(metadata);
        next.onReceiveMetadata(metadata);
      },
      onReceiveMessage: (message) => {
        if (!this.method.requestStream) this.expectRequestEnd();
        next.onReceiveMessage(message);
      },
      onReceiveHalfClose: () => {
        this.requestEnd?.stop();
        if (!this.method.requestStream) next.onReceiveHalfClose();
        // A client that cancels ends its request first: that is not to be taken for a stream that ended early.
        else afterReading(() => this.isGone || next.onReceiveHalfClose());
      },
      // grpc-js calls this at the end of every call, however it ended.
      onCancel: () => {
        this.isGone = true;
        this.requestEnd?.stop();
        this.unread?.stop();
        this.count(codeOf(cancellation(this.call)));
        onEnd();
        next.onCancel();
      },
    };
  }

  /** Handlers of calls with one request message start only when the client has closed its half. */
  private expectRequestEnd(): void {
    const { requestEndMs } = this.options;
    this.requestEnd ??= new SilenceTimer(requestEndMs, () =>
      this.refuse(new SaladError('IDLE_TIMEOUT', `the request did not end within ${requestEndMs} ms`)),
    );
  }

  private whenRead(callback: () => void): () => void {
    const { unreadMs } = this.options;
    this.unread ??= new SilenceTimer(unreadMs, () =>
      this.refuse(new SaladError('IDLE_TIMEOUT', `an answer was not read for ${unreadMs} ms`)),
    );
    return () => {
      this.unread?.stop();
      this.unread = undefined;
      callback();
    };
  }

  private completed(end: CallEnd): CallEnd {
    const known = hasDetails(end) ? undefined : protocolError(end.code, end.details);
    const { code, details, metadata } =
      known === undefined ? end : toServiceError(known, this.options.retryDelayMs);
    const thrown = thrownOf(metadata);
    if (thrown !== undefined && !this.isOver) this.log(thrown);
    this.isOver = true;
    this.count(code);
    return { code, details, metadata: metadata ?? null };
  }

  private log(thrown: unknown): void {
    const { logger, telemetry } = this.options;
    const error = SaladError.from(thrown);
    const facts = {
      reason: error.reason,
      path: this.method.path,
      peer: this.call.getPeer(),
      ...telemetry.idsOf(thrown),
    };
    if (error.kind === 'internal') logger.error({ err: thrown, ...facts }, 'call failed');
    else if (WARNED.has(error.reason)) logger.warn({ err: error, ...facts }, error.message);
    else logger.debug(facts, error.message);
  }

  private count(code: status): void {
    if (this.isCounted) return;
    this.isCounted = true;
    if (this.method.path.startsWith(HEALTH)) return;
    const ms = performance.now() - this.startedAt;
    this.options.telemetry.callEnded(this.method.path.slice(1), status[code], ms);
  }
}

function hasDetails({ metadata }: CallEnd): boolean {
  return metadata !== null && metadata !== undefined && metadata.get(DETAILS_KEY).length > 0;
}
