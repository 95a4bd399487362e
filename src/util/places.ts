/** Limits how much of one kind of work is done at once. */

/** Releases the place. Idempotent. */
export type ReleasePlace = () => void;

interface Waiting {
  readonly begin: () => void;
}

/** Work that cannot be interrupted waits here for a place, and does not begin where its caller gives up before. */
export class Places {
  #free: number;
  readonly #waiting = new Set<Waiting>();

  /** @param count how much is done at once, at least 1 */
  constructor(count: number) {
    this.#free = count;
  }

  /** Number of callers that wait for a place. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Waits for a place, in the order of calls. @throws the reason of `signal` where it aborts first */
  async enter(signal?: AbortSignal): Promise<ReleasePlace> {
    signal?.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    else await this.#waitForTurn(signal);
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      const [next] = this.#waiting;
      if (next === undefined) this.#free += 1;
      else {
        this.#waiting.delete(next);
        next.begin();
      }
    };
  }

  #waitForTurn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.delete(waiting);
        reject(signal!.reason);
      };
      const waiting: Waiting = {
        begin: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      this.#waiting.add(waiting);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}
