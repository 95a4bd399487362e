/**
 * Calls of the file system of watched folders. On a network volume whose server is away a call may never return: a hard
 * NFS mount waits for ever, and no call can be cancelled.
 */
import { Places } from '../../../../src/util/places.js';

/**
 * A call that does not return keeps one of the four threads that Node has for files. So many are left to watched folders,
 * all of them together; the inbox and the other inputs have the rest.
 */
const CALLS_MAX = 2;

/** For the calls of all watched folders of a process. */
export function placesForCalls(): Places {
  return new Places(CALLS_MAX);
}

export interface FolderCallsOptions {
  readonly places: Places;
  /** A call that takes longer counts as unanswered. */
  readonly answerMs: number;
  /** Time in ms, monotonic. */
  readonly now: () => number;
}

/** The calls of one folder, one at a time. */
export class FolderCalls {
  private askedAtMs: number | undefined;
  private hasPlace = false;

  constructor(private readonly options: FolderCallsOptions) {}

  /** @returns what the call gives; rejects as it does */
  async run<T>(call: () => Promise<T>): Promise<T> {
    const { places, now } = this.options;
    this.askedAtMs = now();
    const release = await places.enter();
    this.hasPlace = true;
    try {
      return await call();
    } finally {
      this.askedAtMs = undefined;
      this.hasPlace = false;
      release();
    }
  }

  /** Why a call has not returned in time, in words for the operator; undefined where none is late. */
  get fault(): string | undefined {
    const { answerMs, now } = this.options;
    if (this.askedAtMs === undefined || now() - this.askedAtMs < answerMs) return undefined;
    const which = this.hasPlace ? 'its file system does' : 'the file systems of other watched folders do';
    return `${which} not answer`;
  }
}
