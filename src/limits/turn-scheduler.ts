/**
 * Limits the time that one kind of work, messages or new calls, takes of a turn of the event loop. It is done at once
 * during the first milliseconds of a turn. Later work waits for the following turns: each callback runs one task, of each
 * peer in turn, and callbacks go on during the first milliseconds of a turn. So one peer's messages delay neither those of
 * other peers nor the sockets.
 */
import { PeerTurns } from './peer-turns.js';

export interface TurnSchedulerOptions {
  /** Tasks that come later than this after the first one of a turn wait, in ms. @default 5 */
  readonly turnMs?: number;
  /** Monotonic, in ms. @default performance.now */
  readonly now?: () => number;
  /** Runs a callback in the next turn of the event loop. @default setImmediate */
  readonly runInNextTurn?: (callback: () => void) => void;
}

const TURN_MS = 5;
/** Most callbacks of a turn, each of which runs a task. */
const CALLBACKS_MAX = 16;

export class TurnScheduler {
  private readonly turnMs: number;
  private readonly now: () => number;
  private readonly runInNextTurn: (callback: () => void) => void;
  private readonly waiting = new PeerTurns<() => void>();
  /** Callbacks that are to run a waiting task. */
  private callbackCount = 0;
  /** Time of the first task of this turn; undefined before it. */
  private turnStartedAt: number | undefined;

  constructor(options: TurnSchedulerOptions = {}) {
    this.turnMs = options.turnMs ?? TURN_MS;
    this.now = options.now ?? (() => performance.now());
    this.runInNextTurn = options.runInNextTurn ?? setImmediate;
  }

  /** Runs the task at once or in a later turn. The task must not throw. */
  run(peer: string, task: () => void): void {
    // While tasks wait, a new one must not start the time of the turn: it would take it from them.
    if (this.waiting.count === 0 && this.hasTime()) {
      task();
      return;
    }
    this.waiting.add(peer, task);
    this.scheduleCallbacks();
  }

  /** @returns whether the turn has time for another task */
  private hasTime(): boolean {
    const now = this.now();
    if (this.turnStartedAt === undefined) {
      this.turnStartedAt = now;
      this.runInNextTurn(() => {
        this.turnStartedAt = undefined;
      });
    }
    return now - this.turnStartedAt < this.turnMs;
  }

  private scheduleCallbacks(): void {
    const count = Math.min(this.waiting.count, CALLBACKS_MAX);
    for (; this.callbackCount < count; this.callbackCount += 1) {
      this.runInNextTurn(() => this.runWaitingTask());
    }
  }

  /** One task in a callback: its handler runs after the callback, and its time counts before the next one. */
  private runWaitingTask(): void {
    this.callbackCount -= 1;
    if (this.hasTime()) this.waiting.take()?.work();
    this.scheduleCallbacks();
  }
}
