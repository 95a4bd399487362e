/** The calls in progress: counted, refused while draining, ended with a clear status. */
import { type Metadata, type ServerErrorResponse, status } from '@grpc/grpc-js';
import { Latch } from '../../acquisition/index.js';
import { SaladError } from '../../errors/index.js';
import type { Logger } from '../../telemetry/logger.js';
import type { Telemetry } from '../../telemetry/telemetry.js';
import { codeOf, toServiceError } from '../../wire/status.js';

/** Made once: an error takes a stack trace, and every call ends with this. */
const OVER = new SaladError('CANCELLED', 'the call is over');

/** What a handler needs of a streaming call, whatever its messages. */
export interface StreamingCall {
  readonly cancelled: boolean;
  readonly metadata: Metadata;
  getDeadline(): Date | number;
  getPath(): string;
  on(event: 'cancelled' | 'error', listener: (error?: unknown) => void): unknown;
  emit(event: 'error', error: ServerErrorResponse): boolean;
  end(): unknown;
}

export interface CallTrackerOptions {
  /** Most calls at once, those that have not sent a header yet and those still being read included. */
  readonly maxCalls: number;
  readonly retryDelayMs: number;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
}

export class CallTracker {
  private readonly running = new Map<AbortController, StreamingCall>();
  private readonly finished = new Latch();
  private draining = false;

  constructor(private readonly options: CallTrackerOptions) {}

  get active(): number {
    return this.running.size;
  }

  /** Runs a handler; whatever it throws becomes the call's status. Never rejects. */
  async serve(call: StreamingCall, handler: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const startedAt = performance.now();
    const error = await this.run(call, handler);
    const code = error === undefined ? status.OK : codeOf(error);
    this.options.telemetry.callEnded(call.getPath().slice(1), status[code], performance.now() - startedAt);
  }

  /** @returns what the call ended with; undefined where all went well */
  private async run(
    call: StreamingCall,
    handler: (signal: AbortSignal) => Promise<void>,
  ): Promise<SaladError | undefined> {
    const controller = new AbortController();
    call.on('cancelled', () => {
      // grpc-js says so at the end of every call, too.
      if (!controller.signal.aborted) controller.abort(new SaladError('CANCELLED', 'the client cancelled'));
    });
    if (this.draining) return this.fail(call, new SaladError('DRAINING', 'the server is shutting down'));
    if (this.running.size >= this.options.maxCalls) {
      const why = `${this.options.maxCalls} calls are open already`;
      return this.fail(call, new SaladError('OVERLOADED', why));
    }
    this.running.set(controller, call);
    try {
      await handler(controller.signal);
      if (!call.cancelled) call.end();
      return undefined;
    } catch (error) {
      // An abort of ours (drain) says more than the cancellation it caused below.
      const reason = controller.signal.aborted ? controller.signal.reason : error;
      return call.cancelled ? SaladError.from(reason) : this.fail(call, reason);
    } finally {
      // Frees what may still wait on the signal, such as a reader of requests.
      controller.abort(OVER);
      this.running.delete(controller);
      this.finished.open();
    }
  }

  /** Refuses new calls; resolves when none is left. Those still running after the grace are ended as DRAINING. */
  async drain(graceMs: number): Promise<void> {
    this.draining = true;
    const timer = setTimeout(() => {
      for (const controller of this.running.keys()) {
        controller.abort(new SaladError('DRAINING', 'the server is shutting down'));
      }
    }, graceMs);
    try {
      while (this.running.size > 0) await this.finished.wait();
    } finally {
      clearTimeout(timer);
    }
  }

  toServiceError(error: unknown): ServerErrorResponse {
    const known = SaladError.from(error);
    const ids = this.options.telemetry.idsOf(error);
    if (known.kind === 'internal') this.options.logger.error({ err: error, ...ids }, 'call failed');
    else this.options.logger.debug({ reason: known.reason, ...ids }, known.message);
    return toServiceError(known, this.options.retryDelayMs);
  }

  private fail(call: StreamingCall, error: unknown): SaladError {
    call.emit('error', this.toServiceError(error));
    return SaladError.from(error);
  }
}

/** A call's deadline on the monotonic clock; Infinity without one. */
export function monotonicDeadline(call: Pick<StreamingCall, 'getDeadline'>, now: number): number {
  const deadline = call.getDeadline();
  return now + (Number(deadline) - Date.now());
}
