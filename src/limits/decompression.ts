/** Decompression of request messages: the size is limited while bytes are produced, and few messages run at once. */
import { createGunzip, createInflate } from 'node:zlib';
import { SaladError } from '../errors/index.js';
import { PeerTurns } from './peer-turns.js';

/** Messages decompressed at once, over all peers: Node's pool has four threads, and images are decoded there too. */
const ACTIVE_MAX = 2;
const OUTPUT_BUFFER_BYTES = 64 * 1024;

export interface DecompressOptions {
  /** 'gzip' or 'deflate'. */
  readonly encoding: string;
  /** Largest message after decompression. */
  readonly maxBytes: number;
  /** Called before this many more bytes are kept. @returns false where there is no memory for them */
  readonly reserve: (bytes: number) => boolean;
}

/** Decompresses one message of a peer at a time, and serves peers in turn. */
export class DecompressionQueue {
  /** A message of each is decompressed. */
  private readonly activePeers = new Set<string>();
  private readonly waiting = new PeerTurns<() => void>();

  /** @throws SaladError MESSAGE_TOO_LARGE, MESSAGE_INVALID, OVERLOADED */
  async decompress(peer: string, message: Buffer, options: DecompressOptions): Promise<Buffer> {
    await this.waitForTurn(peer);
    try {
      return await decompress(message, options);
    } finally {
      this.activePeers.delete(peer);
      this.startWaiting();
    }
  }

  private waitForTurn(peer: string): Promise<void> {
    return new Promise((resolve) => {
      this.waiting.add(peer, resolve);
      this.startWaiting();
    });
  }

  private startWaiting(): void {
    while (this.activePeers.size < ACTIVE_MAX) {
      const next = this.waiting.take(this.activePeers);
      if (next === undefined) return;
      this.activePeers.add(next.peer);
      next.work();
    }
  }
}

function decompress(message: Buffer, { encoding, maxBytes, reserve }: DecompressOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = { chunkSize: OUTPUT_BUFFER_BYTES };
    const stream = encoding === 'gzip' ? createGunzip(options) : createInflate(options);
    const outputs: Buffer[] = [];
    let totalBytes = 0;
    const fail = (error: SaladError) => {
      stream.destroy();
      reject(error);
    };
    stream.on('error', (cause) => {
      reject(new SaladError('MESSAGE_INVALID', `the message is not valid ${encoding} data`, { cause }));
    });
    stream.on('data', (output: Buffer) => {
      totalBytes += output.byteLength;
      if (totalBytes > maxBytes) fail(messageTooLarge(maxBytes));
      else if (!reserve(output.byteLength)) {
        fail(new SaladError('OVERLOADED', 'there is no memory to decompress the message; try again later'));
      } else outputs.push(output);
    });
    stream.on('end', () => resolve(Buffer.concat(outputs, totalBytes)));
    stream.end(message);
  });
}

export function messageTooLarge(maxBytes: number): SaladError {
  return new SaladError(
    'MESSAGE_TOO_LARGE',
    `the message is larger than ${maxBytes} bytes, the limit of this method`,
  );
}
