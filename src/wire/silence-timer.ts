/** Timers that judge whether a peer is silent. */

/** Turns of the event loop from bytes in the kernel to a decoded gRPC message. */
const TURNS = 3;
/** A timer that is later than this comes after a pause of the process or of its event loop. */
const LATE_MS = 100;
/** After a pause: for what came meanwhile to be read, decompressed and delivered. */
const CATCH_UP_MS = 1000;

/**
 * Calls `onSilence` once nothing was noted for `ms`. After a pause of this process (a stopped container, a blocked event
 * loop) timers run before the sockets are read, so that a peer that did send would look silent: this timer lets the
 * event loop read first and starts again where something came.
 */
export class SilenceTimer {
  private readonly timer: NodeJS.Timeout;
  private dueAt: number;
  private heard = false;
  private stopped = false;

  constructor(
    private readonly ms: number,
    onSilence: () => void,
  ) {
    this.dueAt = performance.now() + ms;
    const judge = () => {
      if (this.stopped) return;
      if (this.heard) this.restart();
      else onSilence();
    };
    this.timer = setTimeout(() => {
      this.heard = false;
      if (performance.now() - this.dueAt < LATE_MS) afterReading(judge);
      else setTimeout(judge, Math.min(ms, CATCH_UP_MS));
    }, ms);
  }

  /** The peer gave a sign of life. */
  note(): void {
    this.heard = true;
    if (!this.stopped) this.restart();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private restart(): void {
    this.dueAt = performance.now() + this.ms;
    this.timer.refresh();
  }
}

/** Runs `next` after what the kernel holds for this process was read and delivered. */
export function afterReading(next: () => void, turns = TURNS): void {
  if (turns === 0) next();
  else setImmediate(() => afterReading(next, turns - 1));
}
