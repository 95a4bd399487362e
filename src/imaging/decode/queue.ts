/** How many images are decompressed at once. */

/** Gives the place back. Idempotent. */
export type Leave = () => void;

interface Waiting {
  readonly enter: () => void;
}

/**
 * Decompression runs in native threads and cannot be stopped once it has begun: so few run at once, the others wait
 * here, and one whose caller has gone never begins.
 */
export class DecodeQueue {
  #free: number;
  readonly #waiting = new Set<Waiting>();

  /** @param places images decompressed at once, at least 1 */
  constructor(places: number) {
    this.#free = places;
  }

  /** Images that wait for a place. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Waits for a place, first come, first served. @throws the reason of `signal` where it aborts first */
  async enter(signal?: AbortSignal): Promise<Leave> {
    signal?.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    else await this.#turn(signal);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const [next] = this.#waiting;
      if (next === undefined) this.#free += 1;
      else {
        this.#waiting.delete(next);
        next.enter();
      }
    };
  }

  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.delete(waiting);
        reject(signal!.reason);
      };
      const waiting: Waiting = {
        enter: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      this.#waiting.add(waiting);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}
