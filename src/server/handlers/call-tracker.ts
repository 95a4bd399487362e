/** The calls in progress: counted, refused while draining, ended with a clear status. */
import type { Metadata } from '@grpc/grpc-js';
import { Latch } from '../../acquisition/index.js';
import { SaladError } from '../../errors/index.js';
import { cancellation } from './cancellation.js';

/** Made once: an error takes a stack trace, and every call ends with this. */
const OVER = new SaladError('CANCELLED', 'the call is over');

/** What a handler needs of a streaming call, whatever its messages. */
export interface StreamingCall {
  readonly cancelled: boolean;
  readonly metadata: Metadata;
  getDeadline(): Date | number;
  getPath(): string;
  on(event: 'cancelled' | 'error', listener: (error?: unknown) => void): unknown;
  end(): unknown;
}

export interface CallTrackerOptions {
  /** Most calls at once, those that have not sent a header yet and those still being read included. */
  readonly maxCalls: number;
  /** Sends an error as the status of the call with this metadata. */
  readonly refuse: (metadata: Metadata, error: unknown) => void;
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
    if (this.draining) return this.options.refuse(call.metadata, draining());
    if (this.running.size >= this.options.maxCalls) {
      const why = `${this.options.maxCalls} calls are open already`;
      return this.options.refuse(call.metadata, new SaladError('OVERLOADED', why));
    }
    this.running.set(controller, call);
    try {
      await handler(controller.signal);
      if (!call.cancelled) call.end();
    } catch (error) {
      // An abort of ours (drain) says more than the cancellation it caused below.
      const reason: unknown = controller.signal.aborted ? controller.signal.reason : error;
      if (!call.cancelled) this.options.refuse(call.metadata, reason);
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
        controller.abort(draining());
      }
    }, graceMs);
    try {
      while (this.running.size > 0) await this.finished.wait();
    } finally {
      clearTimeout(timer);
    }
  }
}

function draining(): SaladError {
  return new SaladError('DRAINING', 'the server is shutting down');
}

/** A call's deadline on the monotonic clock; Infinity without one. */
export function monotonicDeadline(call: Pick<StreamingCall, 'getDeadline'>, now: number): number {
  const deadline = call.getDeadline();
  return now + (Number(deadline) - Date.now());
}
