/** Writing to a call no faster than the client reads. */

import { Latch } from '../acquisition/index.js';
import { SaladError } from '../errors/index.js';

/** Messages handed to HTTP/2 and not yet taken: the second is encoded while the first is on its way. */
const IN_FLIGHT_MAX = 2;

export interface WritableCall<T> {
  write(message: T, callback: (error?: Error | null) => void): boolean;
}

/**
 * `write` settles when there is room for another message. While it waits, scores gather in the acquisition and
 * leave together in the next message: a slow reader gets fewer, larger messages and never grows a queue.
 */
export class ResponseWriter<T> {
  private inFlight = 0;
  private readonly room = new Latch();

  constructor(
    private readonly call: WritableCall<T>,
    private readonly signal: AbortSignal,
  ) {
    signal.addEventListener('abort', () => this.room.open(), { once: true });
  }

  /** @throws SaladError CANCELLED where the signal aborts first. */
  async write(message: T): Promise<void> {
    this.inFlight += 1;
    this.call.write(message, () => {
      this.inFlight -= 1;
      this.room.open();
    });
    while (this.inFlight >= IN_FLIGHT_MAX && !this.signal.aborted) await this.room.wait();
    if (this.signal.aborted) throw new SaladError('CANCELLED', 'the call ended');
  }
}
