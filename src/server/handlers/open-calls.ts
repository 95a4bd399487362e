/** Every call of the port: counted when it ends, and bounded in time where no handler of ours bounds it. */
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerListener,
  type ServerMethodDefinition,
  status,
} from '@grpc/grpc-js';
import { SaladError } from '../../errors/index.js';
import type { Telemetry } from '../../telemetry/telemetry.js';
import { afterReading, SilenceTimer } from '../../wire/silence-timer.js';
import { codeOf, DETAILS_KEY, protocolError } from '../../wire/status.js';
import { cancellation, type Failures } from '../failures.js';

export interface OpenCallsOptions {
  readonly failures: Failures;
  readonly telemetry: Telemetry;
  /** From the one request message of a call to the end of its request, in ms. */
  readonly requestEndMs: number;
  /** An answer that is not read for this long ends the call, in ms. */
  readonly unreadMs: number;
}

type CallEnd = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

/** Probes, every few seconds from every load balancer: not counted. */
const HEALTH = '/grpc.health.v1.Health/';
/** These calls end by `CallTracker`, and limit unread answers by `ResponseWriter`. */
const ACQUISITIONS = '/salad.v1.AnomalyScoring/';

export class OpenCalls {
  private readonly others = new Set<OpenCall>();
  private readonly byMetadata = new WeakMap<Metadata, OpenCall>();

  constructor(private readonly options: OpenCallsOptions) {}

  /** For the server's options, first of all interceptors: nearest to the wire. */
  readonly interceptor: ServerInterceptor = (method, call) => new OpenCall(method, call, this.options, this);

  /**
   * Sends the error as the status of the call with this metadata. Not through the call's own stream as grpc-js does it:
   * there the status waits behind answers that the client may never take.
   */
  refuse(metadata: Metadata, error: unknown): void {
    this.byMetadata.get(metadata)?.refuse(error);
  }

  /** @internal */
  started(metadata: Metadata, call: OpenCall): void {
    this.byMetadata.set(metadata, call);
    if (!call.isAcquisition) this.others.add(call);
  }

  /** @internal */
  ended(call: OpenCall): void {
    this.others.delete(call);
  }

  /** Ends what is no acquisition: Watch and reflection would never end by themselves. */
  endOthers(error: SaladError): void {
    for (const call of this.others) call.refuse(error);
  }
}

class OpenCall extends ServerInterceptingCall {
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
    private readonly call: ServerInterceptingCallInterface,
    private readonly options: OpenCallsOptions,
    private readonly owner: OpenCalls,
  ) {
    super(call, { start: (next) => next(this.listener()) });
    // grpc-js ends calls by itself, too (deadline, messages too large or not to be decoded): through this method.
    const send = call.sendStatus.bind(call);
    call.sendStatus = (end) => send(this.completed(end));
  }

  refuse(error: unknown): void {
    const facts = { path: this.method.path, peer: this.getPeer() };
    const { code, details, metadata } = this.options.failures.toServiceError(error, facts);
    this.call.sendStatus({ code, details, metadata });
  }

  override sendMessage(message: unknown, callback: () => void): void {
    // An answer that waited behind one that was not read, when an error ended the call.
    if (this.isOver) return;
    if (this.isAcquisition) {
      super.sendMessage(message, callback);
      return;
    }
    const { unreadMs } = this.options;
    this.unread ??= new SilenceTimer(unreadMs, () =>
      this.refuse(new SaladError('IDLE_TIMEOUT', `an answer was not read for ${unreadMs} ms`)),
    );
    super.sendMessage(message, () => {
      this.unread?.stop();
      this.unread = undefined;
      callback();
    });
  }

  private listener(): ServerListener {
    return {
      onReceiveMetadata: (metadata, next) => {
        this.owner.started(metadata, this);
        next(metadata);
      },
      onReceiveMessage: (message, next) => {
        if (!this.method.requestStream) this.expectRequestEnd();
        next(message);
      },
      onReceiveHalfClose: (next) => {
        this.requestEnd?.stop();
        if (!this.method.requestStream) next();
        // A client that cancels ends its request first: that is not to be taken for a stream that ended early.
        else afterReading(() => this.isGone || next());
      },
      // grpc-js calls this at the end of every call, however it ended.
      onCancel: () => {
        this.isGone = true;
        this.owner.ended(this);
        this.requestEnd?.stop();
        this.unread?.stop();
        this.count(codeOf(cancellation(this)));
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

  private completed(end: CallEnd): CallEnd {
    const known = hasDetails(end) ? undefined : protocolError(end.code, end.details);
    const facts = { path: this.method.path, peer: this.getPeer() };
    const { code, details, metadata } =
      known === undefined ? end : this.options.failures.toServiceError(known, facts);
    this.isOver = true;
    this.count(code);
    return { code, details, metadata: metadata ?? null };
  }

  private count(code: status): void {
    if (this.isCounted) return;
    this.isCounted = true;
    if (this.method.path.startsWith(HEALTH)) return;
    const ms = performance.now() - this.startedAt;
    this.options.telemetry.callEnded(this.method.path.slice(1), status[code], ms);
  }

  get isAcquisition(): boolean {
    return this.method.path.startsWith(ACQUISITIONS);
  }
}

function hasDetails({ metadata }: CallEnd): boolean {
  return metadata !== null && metadata !== undefined && metadata.get(DETAILS_KEY).length > 0;
}
