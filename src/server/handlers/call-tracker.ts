/** The calls in progress: counted, refused while draining, ended with a clear status. */
import type { Metadata, ServerErrorResponse } from '@grpc/grpc-js';
import { Latch } from '../../acquisition/index.js';
import { SaladError } from '../../errors/index.js';
import type { Failures } from '../failures.js';

/** Made once: an error takes a stack trace, and every call ends with this. */
const OVER = new SaladError('CANCELLED', 'the call is over');

/** What a handler needs of a streaming call, whatever its messages. */
export interface StreamingCall {
  readonly cancelled: boolean;
  readonly metadata: Metadata;
  getDeadline(): Date | number;
  getPath(): string;
  getPeer(): string;
  on(event: 'cancelled' | 'error', listener: (error?: unknown) => void): unknown;
  emit(event: 'error', error: ServerErrorResponse): boolean;
  end(): unknown;
}

export interface CallTrackerOptions {
  /** Most calls at once, those that have not sent a header yet and those still being read included. */
  readonly maxCalls: number;
  readonly failures: Failures;
}

/** A client whose deadline passes cancels its call at about that time. */
const DEADLINE_TOLERANCE_MS = 100;

/** Why a call ended that the server did not end. @param call with its deadline on the clock of the day, in ms */
export function cancellation(call: { getDeadline(): Date | number }): SaladError {
  return Date.now() >= Number(call.getDeadline()) - DEADLINE_TOLERANCE_MS
    ? new SaladError('DEADLINE_EXCEEDED', "the call's deadline passed")
    : new SaladError('CANCELLED', 'the client cancelled');
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
    const controller = new AbortController();
    call.on('cancelled', () => {
      // grpc-js says so at the end of every call, too.
      if (!controller.signal.aborted) controller.abort(cancellation(call));
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
    } catch (error) {
      // An abort of ours (drain) says more than the cancellation it caused below.
      if (!call.cancelled) this.fail(call, controller.signal.aborted ? controller.signal.reason : error);
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

  private fail(call: StreamingCall, error: unknown): void {
    const facts = { path: call.getPath(), peer: call.getPeer() };
    call.emit('error', this.options.failures.toServiceError(error, facts));
  }
}

/** A call's deadline on the monotonic clock; Infinity without one. */
export function monotonicDeadline(call: Pick<StreamingCall, 'getDeadline'>, now: number): number {
  const deadline = call.getDeadline();
  return now + (Number(deadline) - Date.now());
}
