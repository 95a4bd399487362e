/** Memory of request messages, from their announcement until their call has taken them in, over all calls. */
import { Shares } from '../acquisition/index.js';

interface Waiting {
  readonly bytes: number;
  readonly onRoom: () => void;
}

/** What a message costs beside its bytes. */
const MESSAGE_BYTES = 256;

/**
 * A message takes its room as soon as its length is known. Where there is none its stream waits, so that HTTP/2 slows
 * the client; a peer's messages get room in the order in which they asked.
 */
export class ReceivedBytes {
  private readonly shares: Shares;
  private readonly waiting = new Map<string, Waiting[]>();

  /** @param ratio see `Shares` */
  constructor(totalBytes: number, ratio: number) {
    this.shares = new Shares(totalBytes, ratio);
  }

  get taken(): number {
    return this.shares.taken;
  }

  /** @returns false where there is no room now; `onRoom` is called once it was taken */
  take(peer: string, bytes: number, onRoom: () => void): boolean {
    const queue = this.waiting.get(peer);
    if (queue === undefined && this.shares.take(peer, bytes + MESSAGE_BYTES)) return true;
    const entry = { bytes, onRoom };
    if (queue === undefined) this.waiting.set(peer, [entry]);
    else queue.push(entry);
    return false;
  }

  /** More for a message that turns out to be larger. @returns false where there is no room */
  takeMore(peer: string, bytes: number): boolean {
    return this.shares.take(peer, bytes);
  }

  /** @param onRoom what was given to `take` */
  stopWaiting(peer: string, onRoom: () => void): void {
    const queue = this.waiting.get(peer);
    const index = queue?.findIndex((entry) => entry.onRoom === onRoom) ?? -1;
    if (queue === undefined || index < 0) return;
    queue.splice(index, 1);
    if (queue.length === 0) this.waiting.delete(peer);
    this.serveWaiting();
  }

  /** @param bytes all that `take` and `takeMore` took for the message */
  give(peer: string, bytes: number): void {
    this.shares.give(peer, bytes + MESSAGE_BYTES);
    if (this.waiting.size > 0) this.serveWaiting();
  }

  private serveWaiting(): void {
    for (const [peer, queue] of this.waiting) {
      let entry = queue[0];
      while (entry !== undefined && this.shares.take(peer, entry.bytes + MESSAGE_BYTES)) {
        queue.shift();
        // Not in the middle of whoever gave the room.
        setImmediate(entry.onRoom);
        entry = queue[0];
      }
      if (queue.length === 0) this.waiting.delete(peer);
    }
  }
}
