/**
 * Calls of the file system of watched folders. On a network volume whose server is away a call may never return: a hard
 * NFS mount waits for ever, and no call can be cancelled.
 */

/**
 * A call that does not return keeps one of the four threads that Node has for files. So many are left to watched folders,
 * all of them together; the inbox and the other inputs have the rest.
 */
const CALLS_MAX = 2;

/** Turns of calls, in the order in which they were asked for. */
export class CallTurns {
  private free = CALLS_MAX;
  private readonly waiting: (() => void)[] = [];

  async take(): Promise<void> {
    if (this.free > 0) this.free -= 1;
    else await new Promise<void>((begin) => this.waiting.push(begin));
  }

  giveBack(): void {
    const next = this.waiting.shift();
    if (next === undefined) this.free += 1;
    else next();
  }
}

export interface FolderCallsOptions {
  readonly turns: CallTurns;
  /** A call that takes longer counts as unanswered. */
  readonly answerMs: number;
  /** Time in ms, monotonic. */
  readonly now: () => number;
}

/** The calls of one folder, one at a time. */
export class FolderCalls {
  private askedAtMs: number | undefined;
  private hasTurn = false;

  constructor(private readonly options: FolderCallsOptions) {}

  /** @returns what the call gives; rejects as it does */
  async run<T>(call: () => Promise<T>): Promise<T> {
    const { turns, now } = this.options;
    this.askedAtMs = now();
    await turns.take();
    this.hasTurn = true;
    try {
      return await call();
    } finally {
      this.askedAtMs = undefined;
      this.hasTurn = false;
      turns.giveBack();
    }
  }

  /** Why a call has not returned in time, in words for the operator; undefined where none is late. */
  get fault(): string | undefined {
    const { answerMs, now } = this.options;
    if (this.askedAtMs === undefined || now() - this.askedAtMs < answerMs) return undefined;
    const which = this.hasTurn ? 'its file system does' : 'the file systems of other watched folders do';
    return `${which} not answer`;
  }
}
