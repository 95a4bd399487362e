/** Decompression of request messages: bounded while it goes on, few at a time. */
import { createGunzip, createInflate } from 'node:zlib';
import { SaladError } from '../errors/index.js';

/** At once, over all peers: Node's thread pool has four threads, and images are decoded there too. */
const ACTIVE_MAX = 2;
const CHUNK_BYTES = 64 * 1024;

export interface InflateOptions {
  readonly encoding: string;
  readonly maxBytes: number;
  /** Called before so many bytes more are kept. @returns false where there is no room */
  readonly reserve: (bytes: number) => boolean;
}

/** One message of a peer at a time, peers in turn. */
export class Inflater {
  private active = 0;
  private readonly busy = new Set<string>();
  private readonly waiting = new Map<string, (() => void)[]>();

  /** @throws SaladError MESSAGE_TOO_LARGE, MESSAGE_INVALID, OVERLOADED, UNIMPLEMENTED */
  async inflate(peer: string, message: Buffer, options: InflateOptions): Promise<Buffer> {
    await this.turnOf(peer);
    try {
      return await inflate(message, options);
    } finally {
      this.active -= 1;
      this.busy.delete(peer);
      this.next();
    }
  }

  private turnOf(peer: string): Promise<void> {
    return new Promise((resolve) => {
      const queue = this.waiting.get(peer);
      if (queue === undefined) this.waiting.set(peer, [resolve]);
      else queue.push(resolve);
      this.next();
    });
  }

  private next(): void {
    for (const [peer, queue] of this.waiting) {
      if (this.active >= ACTIVE_MAX) return;
      if (this.busy.has(peer)) continue;
      const begin = queue.shift();
      this.waiting.delete(peer);
      if (queue.length > 0) this.waiting.set(peer, queue);
      this.active += 1;
      this.busy.add(peer);
      begin?.();
    }
  }
}

function inflate(message: Buffer, { encoding, maxBytes, reserve }: InflateOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const stream =
      encoding === 'gzip'
        ? createGunzip({ chunkSize: CHUNK_BYTES })
        : createInflate({ chunkSize: CHUNK_BYTES });
    const parts: Buffer[] = [];
    let total = 0;
    const stop = (error: SaladError) => {
      stream.destroy();
      reject(error);
    };
    stream.on('error', (cause) => {
      reject(new SaladError('MESSAGE_INVALID', `the message is not what ${encoding} makes`, { cause }));
    });
    stream.on('data', (part: Buffer) => {
      total += part.byteLength;
      if (total > maxBytes) stop(tooLarge(maxBytes));
      else if (!reserve(part.byteLength)) stop(new SaladError('OVERLOADED', 'no memory left for a message'));
      else parts.push(part);
    });
    stream.on('end', () => resolve(Buffer.concat(parts, total)));
    stream.end(message);
  });
}

export function tooLarge(maxBytes: number): SaladError {
  return new SaladError(
    'MESSAGE_TOO_LARGE',
    `the message is larger than the ${maxBytes} bytes this method takes`,
  );
}
