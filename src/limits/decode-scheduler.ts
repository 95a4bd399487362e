/**
 * Limits the time that decoding takes of a turn of the event loop. Messages are decoded at once during the first
 * milliseconds of a turn; later ones wait for the following turns, in which one message is decoded, of each peer in
 * turn. So one peer's messages delay neither those of other peers nor the sockets.
 */

export interface DecodeSchedulerOptions {
  /** Messages that arrive later than this after the first one of a turn wait, in ms. @default 5 */
  readonly turnMs?: number;
  /** Monotonic, in ms. @default performance.now */
  readonly now?: () => number;
  /** Runs a task in the next turn of the event loop. @default setImmediate */
  readonly runInNextTurn?: (task: () => void) => void;
}

const TURN_MS = 5;

export class DecodeScheduler {
  private readonly turnMs: number;
  private readonly now: () => number;
  private readonly runInNextTurn: (task: () => void) => void;
  /** Waiting tasks by peer; the first peer of the map is served next. */
  private readonly waiting = new Map<string, (() => void)[]>();
  /** Time of the first message of this turn; undefined before it. */
  private turnStartedAt: number | undefined;

  constructor(options: DecodeSchedulerOptions = {}) {
    this.turnMs = options.turnMs ?? TURN_MS;
    this.now = options.now ?? (() => performance.now());
    this.runInNextTurn = options.runInNextTurn ?? setImmediate;
  }

  /** Runs the task at once or in a later turn. The task must not throw. */
  run(peer: string, task: () => void): void {
    if (this.startOrContinueTurn() && this.waiting.size === 0) {
      task();
      return;
    }
    const tasks = this.waiting.get(peer);
    if (tasks === undefined) this.waiting.set(peer, [task]);
    else tasks.push(task);
  }

  /** @returns whether the turn has time for another message */
  private startOrContinueTurn(): boolean {
    const now = this.now();
    if (this.turnStartedAt === undefined) {
      this.turnStartedAt = now;
      this.runInNextTurn(() => this.startNextTurn());
    }
    return now - this.turnStartedAt < this.turnMs;
  }

  /** Runs one waiting task: the message's handler runs after it in the same turn, and may take longer than decoding. */
  private startNextTurn(): void {
    this.turnStartedAt = undefined;
    const first = this.waiting.entries().next().value;
    if (first === undefined) return;
    const [peer, tasks] = first;
    // Moves the peer behind all other peers.
    this.waiting.delete(peer);
    const task = tasks.shift();
    if (tasks.length > 0) this.waiting.set(peer, tasks);
    // Schedules the turn after this one.
    this.startOrContinueTurn();
    task?.();
  }
}
