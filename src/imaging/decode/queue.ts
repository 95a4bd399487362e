/** Limits the number of images that are decompressed at once. */

/** Releases the place. Idempotent. */
export type ReleasePlace = () => void;

interface Waiting {
  readonly begin: () => void;
}

/**
 * Decompression runs in native threads and cannot be interrupted. Therefore few images are decompressed at once, the others
 * wait here, and an image whose call ends while it waits is not decompressed.
 */
export class DecodeQueue {
  #free: number;
  readonly #waiting = new Set<Waiting>();

  /** @param places number of images that are decompressed at once, at least 1 */
  constructor(places: number) {
    this.#free = places;
  }

  /** Number of images that wait for a place. */
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
