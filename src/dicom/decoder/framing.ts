/** Sends messages over a stream of bytes: a structured-clone header, then a payload that is not copied into it. */
import type { Readable, Writable } from 'node:stream';
import { deserialize, serialize } from 'node:v8';

/** Two numbers of 32 bits before each message: bytes of the header, bytes of the payload. */
const PREFIX_BYTES = 8;
const EMPTY = new Uint8Array(0);

export function writeMessage(to: Writable, header: unknown, payload: Uint8Array = EMPTY): void {
  const body = serialize(header);
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32LE(body.byteLength, 0);
  prefix.writeUInt32LE(payload.byteLength, 4);
  to.write(Buffer.concat([prefix, body]));
  if (payload.byteLength > 0) to.write(payload);
}

/** @param onMessage called for every complete message, in order; it owns the payload */
export function readMessages(
  from: Readable,
  onMessage: (header: unknown, payload: Uint8Array) => void,
): void {
  let part: 'prefix' | 'header' | 'payload' = 'prefix';
  let buffer = Buffer.alloc(PREFIX_BYTES);
  let filled = 0;
  let payloadBytes = 0;
  let header: unknown;
  const expect = (next: typeof part, bytes: number) => {
    part = next;
    buffer = Buffer.allocUnsafeSlow(bytes);
    filled = 0;
  };
  const complete = () => {
    if (part === 'prefix') {
      payloadBytes = buffer.readUInt32LE(4);
      expect('header', buffer.readUInt32LE(0));
    } else if (part === 'header') {
      header = deserialize(buffer);
      expect('payload', payloadBytes);
    } else {
      const payload = buffer;
      expect('prefix', PREFIX_BYTES);
      onMessage(header, payload);
    }
  };
  from.on('data', (chunk: Buffer) => {
    let at = 0;
    for (;;) {
      const count = Math.min(buffer.length - filled, chunk.length - at);
      chunk.copy(buffer, filled, at, at + count);
      filled += count;
      at += count;
      // An empty part is complete without another byte.
      if (filled === buffer.length) complete();
      else return;
    }
  });
}
