/** Timers that detect silent peers. */
import { type StartTimer, startTimer as startNodeTimer, type Timer } from '../util/timer.js';

/** Turns of the event loop from bytes in the kernel to their handlers. */
const TURNS = 3;
/** Time to read, decompress and deliver data that arrived while the process was paused. */
const CATCH_UP_MS = 250;

/**
 * Calls `onSilence` when `refresh` was not called for `ms`, and not for another `CATCH_UP_MS` (or `ms` if less) after
 * that. The second wait is needed after a pause of this process (a stopped container, a blocked event loop): timers run
 * before the sockets are read, and a peer that has sent data would appear silent.
 */
export class SilenceTimer {
  private readonly timer: Timer;
  private wasRefreshed = false;
  private stopped = false;

  /** @param startTimer replaceable, for tests @default the timers of Node */
  constructor(ms: number, onSilence: () => void, startTimer: StartTimer = startNodeTimer) {
    const check = () => {
      if (this.stopped) return;
      if (this.wasRefreshed) this.timer.refresh();
      else onSilence();
    };
    this.timer = startTimer(() => {
      this.wasRefreshed = false;
      startTimer(check, Math.min(ms, CATCH_UP_MS));
    }, ms);
  }

  /** Must be called whenever the peer sends or reads. */
  refresh(): void {
    this.wasRefreshed = true;
    if (!this.stopped) this.timer.refresh();
  }

  stop(): void {
    this.stopped = true;
    this.timer.stop();
  }
}

/** Runs `next` after the data that the kernel holds for this process was read. */
export function afterReading(next: () => void, turns = TURNS): void {
  if (turns === 0) next();
  else setImmediate(() => afterReading(next, turns - 1));
}
