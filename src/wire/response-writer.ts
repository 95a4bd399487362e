/** Writing to a call no faster than the client reads. */

import { Latch } from '../acquisition/index.js';
import { SaladError } from '../errors/index.js';
import { SilenceTimer } from './silence-timer.js';

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
  private stallTimer: SilenceTimer | undefined;

  /** @param stallTimeoutMs a client that takes nothing for this long loses its call. */
  constructor(
    private readonly call: WritableCall<T>,
    private readonly signal: AbortSignal,
    private readonly stallTimeoutMs: number,
  ) {
    signal.addEventListener('abort', () => this.room.open(), { once: true });
  }

  /**
   * @param isLast settles only once all messages are taken: until then they are the acquisition's memory, and
   *   its room must not be given to another.
   * @throws SaladError CANCELLED where the signal aborts first, IDLE_TIMEOUT where the client reads nothing.
   */
  async write(message: T, isLast = false): Promise<void> {
    this.inFlight += 1;
    this.call.write(message, () => {
      this.inFlight -= 1;
      this.stallTimer?.refresh();
      this.room.open();
    });
    const waitingMax = isLast ? 0 : IN_FLIGHT_MAX - 1;
    if (this.inFlight > waitingMax && !this.signal.aborted) await this.takenDownTo(waitingMax);
    if (this.signal.aborted) throw new SaladError('CANCELLED', 'the call ended');
  }

  private async takenDownTo(waitingMax: number): Promise<void> {
    let stalled = false;
    this.stallTimer = new SilenceTimer(this.stallTimeoutMs, () => {
      stalled = true;
      this.room.open();
    });
    try {
      while (this.inFlight > waitingMax && !this.signal.aborted && !stalled) await this.room.wait();
      if (stalled) throw new SaladError('IDLE_TIMEOUT', `nothing was read for ${this.stallTimeoutMs} ms`);
    } finally {
      this.stallTimer.stop();
      this.stallTimer = undefined;
    }
  }
}
