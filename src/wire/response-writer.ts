/** Writes to a call no faster than the client reads. */
import { Latch } from '../acquisition/index.js';
import { SaladError } from '../errors/index.js';
import type { StartTimer } from '../util/timer.js';
import { SilenceTimer } from './silence-timer.js';

/** Messages that HTTP/2 has not sent yet: the second is encoded while the first is being sent. */
const IN_FLIGHT_MAX = 2;

export interface WritableCall<T> {
  write(message: T, callback: (error?: Error | null) => void): boolean;
}

/**
 * `write` settles when another message may be written. While it waits, the acquisition collects scores for the next
 * message, so that a slow client gets fewer and larger messages, and no queue grows.
 */
export class ResponseWriter<T> {
  private inFlight = 0;
  private readonly room = new Latch();
  private stallTimer: SilenceTimer | undefined;

  /**
   * @param stallTimeoutMs a call whose client reads nothing for this time is ended
   * @param startTimer replaceable, for tests @default the timers of Node
   */
  constructor(
    private readonly call: WritableCall<T>,
    private readonly signal: AbortSignal,
    private readonly stallTimeoutMs: number,
    private readonly startTimer?: StartTimer,
  ) {
    signal.addEventListener('abort', () => this.room.open(), { once: true });
  }

  /**
   * @param untilSent settles only when all messages have been sent, because their memory is reserved until then
   * @throws SaladError CANCELLED where the signal aborts first, IDLE_TIMEOUT where the client reads nothing
   */
  async write(message: T, untilSent = false): Promise<void> {
    this.inFlight += 1;
    this.call.write(message, () => {
      this.inFlight -= 1;
      this.stallTimer?.refresh();
      this.room.open();
    });
    const waitingMax = untilSent ? 0 : IN_FLIGHT_MAX - 1;
    if (this.inFlight > waitingMax && !this.signal.aborted) await this.waitUntilInFlight(waitingMax);
    if (this.signal.aborted) throw new SaladError('CANCELLED', 'the call ended');
  }

  /** Waits until at most so many messages are in flight. */
  private async waitUntilInFlight(waitingMax: number): Promise<void> {
    let stalled = false;
    const onSilence = () => {
      stalled = true;
      this.room.open();
    };
    this.stallTimer = new SilenceTimer(this.stallTimeoutMs, onSilence, this.startTimer);
    try {
      while (this.inFlight > waitingMax && !this.signal.aborted && !stalled) await this.room.wait();
      if (stalled) {
        throw new SaladError('IDLE_TIMEOUT', `the client read nothing for ${this.stallTimeoutMs} ms`);
      }
    } finally {
      this.stallTimer.stop();
      this.stallTimer = undefined;
    }
  }
}
