/** Timers that judge whether a peer is silent. */

/**
 * Calls `onSilence` once nothing was noted for `ms`. After a pause of this process (a stopped container, a blocked event
 * loop) timers run before the sockets are read, so that a peer that did send would look silent: this timer lets the
 * event loop read first and starts again where something came.
 */
export class SilenceTimer {
  private readonly timer: NodeJS.Timeout;
  private heard = false;
  private stopped = false;

  constructor(ms: number, onSilence: () => void) {
    this.timer = setTimeout(() => {
      this.heard = false;
      afterReading(() => {
        if (this.stopped) return;
        if (this.heard) this.timer.refresh();
        else onSilence();
      });
    }, ms);
  }

  /** The peer gave a sign of life. */
  note(): void {
    this.heard = true;
    if (!this.stopped) this.timer.refresh();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }
}

/** Turns of the event loop from bytes in the kernel to a decoded gRPC message. */
const TURNS = 3;

/** Runs `next` after what the kernel holds for this process was read and delivered. */
export function afterReading(next: () => void, turns = TURNS): void {
  if (turns === 0) next();
  else setImmediate(() => afterReading(next, turns - 1));
}
