/** Logs and counts every call of the port when it ends, and limits the times that no handler limits. */
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
import { isScoringMethod } from '../../wire/methods.js';
import { afterReading, SilenceTimer } from '../../wire/silence-timer.js';
import { codeOf, DETAILS_KEY, protocolError, thrownOf, toServiceError } from '../../wire/status.js';
import { cancellation } from './cancellation.js';

export interface OpenCallsOptions {
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  readonly retryDelayMs: number;
  /** Longest time from the single request message of a call to the end of its request, in ms. */
  readonly requestEndTimeoutMs: number;
  /** The call ends where its answer is not read for this long, in ms. */
  readonly unreadTimeoutMs: number;
}

type Call = ServerInterceptingCallInterface;
type CallListener = Parameters<Call['start']>[0];
type CallEnd = Parameters<Call['sendStatus']>[0];

/** Logged as warnings: faults of neither the caller nor this server. */
const WARNED_REASONS: ReadonlySet<ErrorReason> = new Set(['CREDENTIALS_UNVERIFIABLE']);
/** Not counted: probes come every few seconds from every load balancer. */
const HEALTH_PREFIX = '/grpc.health.v1.Health/';

export class OpenCalls {
  private readonly others = new Set<OpenCall>();
  private readonly byMetadata = new WeakMap<Metadata, OpenCall>();

  constructor(private readonly options: OpenCallsOptions) {}

  /**
   * For the server's options: must precede all interceptors that wrap the call. It changes the methods of grpc-js's own
   * call instead of wrapping it, because a wrapper would cost time for every message.
   */
  readonly interceptor: ServerInterceptor = (method, call) => {
    const open = new OpenCall(method, call, this.options);
    const start = call.start.bind(call);
    call.start = (listener) =>
      start(
        open.listener(listener, {
          onStart: (metadata) => {
            this.byMetadata.set(metadata, open);
            if (!open.isScoring) this.others.add(open);
          },
          onEnd: () => this.others.delete(open),
        }),
      );
    return call as ServerInterceptingCall;
  };

  /**
   * Sends the error as the status of the call with this metadata. It does not use the call's stream as grpc-js does,
   * because there the status waits behind answers that the client may never read.
   */
  refuse(metadata: Metadata, error: unknown): void {
    this.byMetadata.get(metadata)?.refuse(error);
  }

  /** Ends all calls that are no scoring calls: Watch and reflection would never end by themselves. */
  endOthers(error: SaladError): void {
    for (const call of this.others) call.refuse(error);
  }
}

interface LifetimeCallbacks {
  readonly onStart: (metadata: Metadata) => void;
  readonly onEnd: () => void;
}

class OpenCall {
  /** `CallTracker` ends these calls, and `ResponseWriter` limits their unread answers. */
  readonly isScoring: boolean;
  private readonly startedAt = performance.now();
  private requestEndTimer: SilenceTimer | undefined;
  private unreadTimer: SilenceTimer | undefined;
  private isCounted = false;
  /** Whether the HTTP/2 stream is closed. */
  private isClosed = false;
  /** Whether the status was sent. */
  private hasStatus = false;

  constructor(
    private readonly method: ServerMethodDefinition<unknown, unknown>,
    private readonly call: Call,
    private readonly options: OpenCallsOptions,
  ) {
    this.isScoring = isScoringMethod(method.path);
    // grpc-js uses this method also for the calls that it ends itself, such as those whose deadline has passed.
    const sendStatus = call.sendStatus.bind(call);
    call.sendStatus = (end) => sendStatus(this.recordStatus(end));
    const sendMessage = call.sendMessage.bind(call);
    call.sendMessage = (message, callback) => {
      // Drops an answer that waited behind an unread one when an error ended the call.
      if (this.hasStatus) return;
      sendMessage(message, this.isScoring ? callback : this.limitUnread(callback));
    };
  }

  refuse(error: unknown): void {
    const { code, details, metadata } = toServiceError(error, this.options.retryDelayMs);
    this.call.sendStatus({ code, details, metadata });
  }

  listener(next: CallListener, { onStart, onEnd }: LifetimeCallbacks): CallListener {
    return {
      onReceiveMetadata: (metadata) => {
        onStart(metadata);
        next.onReceiveMetadata(metadata);
      },
      onReceiveMessage: (message) => {
        if (!this.method.requestStream) this.limitRequestEnd();
        next.onReceiveMessage(message);
      },
      onReceiveHalfClose: () => {
        this.requestEndTimer?.stop();
        if (!this.method.requestStream) next.onReceiveHalfClose();
        // A client that cancels ends its request before the reset: waits for the reset, which is not an early end.
        else afterReading(() => this.isClosed || next.onReceiveHalfClose());
      },
      // grpc-js calls this at the end of every call, however it ended.
      onCancel: () => {
        this.isClosed = true;
        this.requestEndTimer?.stop();
        this.unreadTimer?.stop();
        // Only where no status was sent: an error with its stack costs as much as a message.
        if (!this.isCounted) this.count(codeOf(cancellation(this.call)));
        onEnd();
        next.onCancel();
      },
    };
  }

  /** A handler with one request message starts only when the client has ended its request. */
  private limitRequestEnd(): void {
    const { requestEndTimeoutMs: timeoutMs } = this.options;
    this.requestEndTimer ??= new SilenceTimer(timeoutMs, () =>
      this.refuse(new SaladError('IDLE_TIMEOUT', `the request did not end within ${timeoutMs} ms`)),
    );
  }

  /** @returns `callback`, which grpc-js calls once the answer is written; until then the time is limited */
  private limitUnread(callback: () => void): () => void {
    const { unreadTimeoutMs: timeoutMs } = this.options;
    this.unreadTimer ??= new SilenceTimer(timeoutMs, () =>
      this.refuse(new SaladError('IDLE_TIMEOUT', `an answer was not read for ${timeoutMs} ms`)),
    );
    return () => {
      this.unreadTimer?.stop();
      this.unreadTimer = undefined;
      callback();
    };
  }

  /** Adds missing error details to a status, logs its error once, and counts the call. */
  private recordStatus(end: CallEnd): CallEnd {
    const error = hasDetails(end) ? undefined : protocolError(end.code, end.details);
    const { code, details, metadata } =
      error === undefined ? end : toServiceError(error, this.options.retryDelayMs);
    const thrown = thrownOf(metadata);
    if (thrown !== undefined && !this.hasStatus) this.log(thrown);
    this.hasStatus = true;
    this.count(code);
    return { code, details, metadata: metadata ?? null };
  }

  private log(thrown: unknown): void {
    const { logger, telemetry } = this.options;
    const error = SaladError.from(thrown);
    const fields = {
      reason: error.reason,
      path: this.method.path,
      peer: this.call.getPeer(),
      ...telemetry.traceIdsOf(thrown),
    };
    if (error.kind === 'internal') logger.error({ err: thrown, ...fields }, 'call failed');
    else if (WARNED_REASONS.has(error.reason)) logger.warn({ err: error, ...fields }, error.message);
    else logger.debug(fields, error.message);
  }

  private count(code: status): void {
    if (this.isCounted) return;
    this.isCounted = true;
    if (this.method.path.startsWith(HEALTH_PREFIX)) return;
    const ms = performance.now() - this.startedAt;
    this.options.telemetry.callEnded(this.method.path.slice(1), status[code], ms);
  }
}

function hasDetails({ metadata }: CallEnd): boolean {
  return metadata !== null && metadata !== undefined && metadata.get(DETAILS_KEY).length > 0;
}
