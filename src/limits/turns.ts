/**
 * Turns on the port's thread: messages are decoded at once while the event loop's turn is young, later ones wait for
 * the next turn, one of each peer after another. So no peer's messages hold up the others', nor the sockets.
 */

export interface TurnOptions {
  /** After this long messages wait for the next turn, in ms. @default 5 */
  readonly turnMs?: number;
  /** Monotonic, in ms. @default performance.now */
  readonly now?: () => number;
  /** Runs a task in the next turn of the event loop. @default setImmediate */
  readonly nextTurn?: (task: () => void) => void;
}

const TURN_MS = 5;

export class Turns {
  private readonly turnMs: number;
  private readonly now: () => number;
  private readonly nextTurn: (task: () => void) => void;
  /** By peer, who is next first. */
  private readonly waiting = new Map<string, (() => void)[]>();
  /** When the first message of this turn came; undefined where none did. */
  private startedAt: number | undefined;

  constructor(options: TurnOptions = {}) {
    this.turnMs = options.turnMs ?? TURN_MS;
    this.now = options.now ?? (() => performance.now());
    this.nextTurn = options.nextTurn ?? setImmediate;
  }

  /** Runs the task now or in a later turn. It must not throw. */
  run(peer: string, task: () => void): void {
    if (this.hasTime() && this.waiting.size === 0) {
      task();
      return;
    }
    const tasks = this.waiting.get(peer);
    if (tasks === undefined) this.waiting.set(peer, [task]);
    else tasks.push(task);
  }

  private hasTime(): boolean {
    const now = this.now();
    if (this.startedAt === undefined) {
      this.startedAt = now;
      this.nextTurn(() => this.begin());
    }
    return now - this.startedAt < this.turnMs;
  }

  /** One message a turn: what its handler makes of it comes after this, and may take far longer than decoding. */
  private begin(): void {
    this.startedAt = undefined;
    const first = this.waiting.entries().next().value;
    if (first === undefined) return;
    const [peer, tasks] = first;
    // Behind the others.
    this.waiting.delete(peer);
    const task = tasks.shift();
    if (tasks.length > 0) this.waiting.set(peer, tasks);
    // The next turn is asked for.
    this.hasTime();
    task?.();
  }
}
