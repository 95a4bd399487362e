/** Memory of request messages over all calls, from a message's announcement until its handler has processed it. */
import { Shares } from '../acquisition/index.js';

interface WaitingMessage {
  readonly bytes: number;
  readonly onReserved: () => void;
}

/** Memory of a message beside its bytes. */
const MESSAGE_OVERHEAD_BYTES = 256;

/**
 * Memory is reserved as soon as a message's length is known. Where there is none its stream is paused, so that HTTP/2
 * flow control slows the client; a peer's messages get memory in the order in which they were announced.
 */
export class ReceiveBudget {
  private readonly shares: Shares;
  private readonly waiting = new Map<string, WaitingMessage[]>();

  /**
   * @param totalBytes memory for all messages; at least the size of the largest message, which would otherwise wait
   * @param peerShareRatio see `Shares`
   */
  constructor(totalBytes: number, peerShareRatio: number) {
    this.shares = new Shares(totalBytes + MESSAGE_OVERHEAD_BYTES, peerShareRatio);
  }

  get reservedBytes(): number {
    return this.shares.used;
  }

  /** @returns false where the message must wait: `onReserved` is called once its memory is reserved */
  reserve(peer: string, bytes: number, onReserved: () => void): boolean {
    const queue = this.waiting.get(peer);
    if (queue === undefined && this.shares.acquire(peer, bytes + MESSAGE_OVERHEAD_BYTES)) return true;
    const message = { bytes, onReserved };
    if (queue === undefined) this.waiting.set(peer, [message]);
    else queue.push(message);
    return false;
  }

  /** Reserves more for a message that grows while it is decompressed. @returns false where there is no memory */
  reserveMore(peer: string, bytes: number): boolean {
    return this.shares.acquire(peer, bytes);
  }

  /** @param onReserved the callback that `reserve` got for the message */
  stopWaiting(peer: string, onReserved: () => void): void {
    const queue = this.waiting.get(peer);
    const index = queue?.findIndex((message) => message.onReserved === onReserved) ?? -1;
    if (queue === undefined || index < 0) return;
    queue.splice(index, 1);
    if (queue.length === 0) this.waiting.delete(peer);
    this.serveWaiting();
  }

  /** @param bytes the sum of all bytes that `reserve` and `reserveMore` reserved for the message */
  release(peer: string, bytes: number): void {
    this.shares.release(peer, bytes + MESSAGE_OVERHEAD_BYTES);
    if (this.waiting.size > 0) this.serveWaiting();
  }

  private serveWaiting(): void {
    for (const [peer, queue] of this.waiting) {
      let message = queue[0];
      while (message !== undefined && this.shares.acquire(peer, message.bytes + MESSAGE_OVERHEAD_BYTES)) {
        queue.shift();
        // Deferred, because the caller that released memory may be in the middle of a change.
        setImmediate(message.onReserved);
        message = queue[0];
      }
      if (queue.length === 0) this.waiting.delete(peer);
    }
  }
}
