/** Timers that tests can replace by those of a simulated clock. */

/** Calls back once after its time. */
export interface Timer {
  /** Starts its time again from zero, also after it has called back. */
  refresh(): void;
  stop(): void;
}

export type StartTimer = (callback: () => void, ms: number) => Timer;

const timerOf = (timeout: NodeJS.Timeout): Timer => ({
  refresh: () => void timeout.refresh(),
  stop: () => clearTimeout(timeout),
});

/** Starts a timer of Node. */
export const startTimer: StartTimer = (callback, ms) => timerOf(setTimeout(callback, ms));

/** Like `startTimer`, but the timer does not keep the process running. */
export const startBackgroundTimer: StartTimer = (callback, ms) => timerOf(setTimeout(callback, ms).unref());
