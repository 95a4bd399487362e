/** Timers that judge whether a peer is silent. */

/** Turns of the event loop from bytes in the kernel to their handlers. */
const TURNS = 3;
/** For what came while the process was paused to be read, decompressed and delivered. */
const CATCH_UP_MS = 250;

/**
 * Calls `onSilence` once `refresh` was not called for `ms` and a moment (a quarter of a second at most). After a pause
 * of this process (a stopped container, a blocked event loop) timers run before the sockets are read, so that a peer
 * that did send would look silent: the moment is for reading, and where something came the timer starts again.
 */
export class SilenceTimer {
  private readonly timer: NodeJS.Timeout;
  private active = false;
  private stopped = false;

  constructor(ms: number, onSilence: () => void) {
    const judge = () => {
      if (this.stopped) return;
      if (this.active) this.timer.refresh();
      else onSilence();
    };
    this.timer = setTimeout(() => {
      this.active = false;
      setTimeout(judge, Math.min(ms, CATCH_UP_MS));
    }, ms);
  }

  /** To be called for everything that the peer sends or takes. */
  refresh(): void {
    this.active = true;
    if (!this.stopped) this.timer.refresh();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }
}

/** Runs `next` after what the kernel holds for this process was read. */
export function afterReading(next: () => void, turns = TURNS): void {
  if (turns === 0) next();
  else setImmediate(() => afterReading(next, turns - 1));
}
