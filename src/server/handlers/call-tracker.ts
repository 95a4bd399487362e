/** Tracks the scoring calls in progress: limits their number, refuses new ones in a drain, ends each with a status. */
import type { Metadata } from '@grpc/grpc-js';
import { Latch } from '../../acquisition/index.js';
import { SaladError } from '../../errors/index.js';
import { cancellation } from './cancellation.js';

/** Created once, because an error collects a stack trace, and every call ends with this one. */
const CALL_ENDED = new SaladError('CANCELLED', 'the call has ended');

/** The members of a streaming call that do not depend on its message types. */
export interface StreamingCall {
  readonly cancelled: boolean;
  readonly metadata: Metadata;
  getDeadline(): Date | number;
  getPath(): string;
  on(event: 'cancelled' | 'error', listener: (error?: unknown) => void): unknown;
  end(): unknown;
}

export interface CallTrackerOptions {
  /** Most calls at once, including calls without a header so far and calls whose answers are still being read. */
  readonly maxCalls: number;
  /** Sends an error as the status of the call with this metadata. */
  readonly refuse: (metadata: Metadata, error: unknown) => void;
}

export class CallTracker {
  private readonly running = new Set<AbortController>();
  private readonly callEnded = new Latch();
  private readonly draining = new AbortController();

  constructor(private readonly options: CallTrackerOptions) {}

  /** Aborts, with DRAINING as its reason, when a drain begins: a call that has no end of its own ends then. */
  get drainSignal(): AbortSignal {
    return this.draining.signal;
  }

  get active(): number {
    return this.running.size;
  }

  /** Runs a handler; an error that it throws becomes the call's status. Never rejects. */
  async serve(call: StreamingCall, handler: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const controller = new AbortController();
    call.on('cancelled', () => {
      // grpc-js emits this at the end of every call, however it ended.
      if (!controller.signal.aborted) controller.abort(cancellation(call));
    });
    if (this.drainSignal.aborted) return this.options.refuse(call.metadata, drainingError());
    if (this.running.size >= this.options.maxCalls) {
      const message = `the server has ${this.options.maxCalls} open scoring calls, its limit`;
      return this.options.refuse(call.metadata, new SaladError('OVERLOADED', message));
    }
    this.running.add(controller);
    try {
      await handler(controller.signal);
      if (!call.cancelled) call.end();
    } catch (error) {
      // The reason of an abort by the server (drain) is more specific than the error it caused in the handler.
      const reason: unknown = controller.signal.aborted ? controller.signal.reason : error;
      if (!call.cancelled) this.options.refuse(call.metadata, reason);
    } finally {
      // Ends everything that still waits for the signal, such as a reader of requests.
      controller.abort(CALL_ENDED);
      this.running.delete(controller);
      this.callEnded.open();
    }
  }

  /** Refuses new calls; resolves when none is left. Calls that run longer than `graceMs` end with DRAINING. */
  async drain(graceMs: number): Promise<void> {
    this.draining.abort(drainingError());
    const timer = setTimeout(() => {
      for (const controller of this.running) {
        controller.abort(drainingError());
      }
    }, graceMs);
    try {
      while (this.running.size > 0) await this.callEnded.wait();
    } finally {
      clearTimeout(timer);
    }
  }
}

function drainingError(): SaladError {
  return new SaladError('DRAINING', 'the server is shutting down');
}

/** A call's deadline on the monotonic clock; Infinity without one. */
export function monotonicDeadline(call: Pick<StreamingCall, 'getDeadline'>, now: number): number {
  const deadline = call.getDeadline();
  return now + (Number(deadline) - Date.now());
}
