/** The waits of loops that look for work: each ends by its time, or earlier because there is work or no more. */
import { type StartTimer, startTimer as startNodeTimer } from '../../../../src/util/timer.js';

export class Pauses {
  /** What ends each wait that there is now. */
  private readonly forWork = new Set<() => void>();
  private readonly forTime = new Set<() => void>();
  private isClosed = false;

  /** @param startTimer replaceable, for tests @default the timers of Node */
  constructor(private readonly startTimer: StartTimer = startNodeTimer) {}

  /** Waits `ms`, at most until `wake` or `close`. */
  untilWork(ms: number): Promise<void> {
    return this.wait(ms, this.forWork);
  }

  /** Waits `ms`, at most until `close`. */
  untilTime(ms: number): Promise<void> {
    return this.wait(ms, this.forTime);
  }

  /** There is work. */
  wake(): void {
    for (const end of this.forWork) end();
  }

  /** Ends all waits, and those to come at once. */
  close(): void {
    this.isClosed = true;
    for (const end of [...this.forWork, ...this.forTime]) end();
  }

  private wait(ms: number, ends: Set<() => void>): Promise<void> {
    if (this.isClosed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.startTimer(end, ms);
      function end() {
        timer.stop();
        ends.delete(end);
        resolve();
      }
      ends.add(end);
    });
  }
}
