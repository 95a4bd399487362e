/** Every call of the port: counted when it ends, and bounded in time where no handler of ours bounds it. */
import {
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerListener,
  type ServerMethodDefinition,
  status,
} from '@grpc/grpc-js';
import { SaladError } from '../../errors/index.js';
import type { Telemetry } from '../../telemetry/telemetry.js';
import { SilenceTimer } from '../../wire/silence-timer.js';
import { codeOf, DETAILS_KEY, protocolError } from '../../wire/status.js';
import type { Failures } from '../failures.js';
import { cancellation } from './call-tracker.js';

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

  constructor(private readonly options: OpenCallsOptions) {}

  /** For the server's options, first of all interceptors: nearest to the wire. */
  readonly interceptor: ServerInterceptor = (method, call) =>
    new OpenCall(method, call, this.options, this.others);

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

  constructor(
    private readonly method: ServerMethodDefinition<unknown, unknown>,
    private readonly call: ServerInterceptingCallInterface,
    private readonly options: OpenCallsOptions,
    private readonly others: Set<OpenCall>,
  ) {
    super(call, { start: (next) => next(this.listener()) });
    // grpc-js ends calls by itself, too (deadline, messages too large or not to be decoded): through this method.
    const send = call.sendStatus.bind(call);
    call.sendStatus = (end) => send(this.ended(end));
  }

  refuse(error: SaladError): void {
    const facts = { path: this.method.path, peer: this.getPeer() };
    const { code, details, metadata } = this.options.failures.toServiceError(error, facts);
    this.call.sendStatus({ code, details, metadata });
  }

  override sendMessage(message: unknown, callback: () => void): void {
    if (this.isAcquisition()) {
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
        if (!this.isAcquisition()) this.others.add(this);
        next(metadata);
      },
      onReceiveMessage: (message, next) => {
        if (!this.method.requestStream) this.expectRequestEnd();
        next(message);
      },
      onReceiveHalfClose: (next) => {
        this.requestEnd?.stop();
        next();
      },
      // grpc-js calls this at the end of every call, however it ended.
      onCancel: () => {
        this.others.delete(this);
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

  private ended(end: CallEnd): CallEnd {
    const known = hasDetails(end) ? undefined : protocolError(end.code, end.details);
    const facts = { path: this.method.path, peer: this.getPeer() };
    const { code, details, metadata } =
      known === undefined ? end : this.options.failures.toServiceError(known, facts);
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

  private isAcquisition(): boolean {
    return this.method.path.startsWith(ACQUISITIONS);
  }
}

function hasDetails({ metadata }: CallEnd): boolean {
  return metadata !== null && metadata !== undefined && metadata.get(DETAILS_KEY).length > 0;
}
