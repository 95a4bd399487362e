/** What happens to files on disks, in transfers and in buffers that were too short. */
import { crc32 } from 'node:zlib';

/** Cut off behind `share` of the bytes. */
export function truncated(bytes: Uint8Array, share: number): Buffer {
  return Buffer.from(bytes.subarray(0, Math.floor(bytes.length * share)));
}

/** A sector of zeros, where the file system lost one. @param at share of the bytes before it */
export function withZeros(bytes: Uint8Array, at: number, length = 512): Buffer {
  const out = Buffer.from(bytes);
  const from = Math.floor(bytes.length * at);
  return out.fill(0, from, Math.min(from + length, bytes.length - 2));
}

/** A sector missing. */
export function withGap(bytes: Uint8Array, at: number, length = 512): Buffer {
  const from = Math.floor(bytes.length * at);
  return Buffer.concat([bytes.subarray(0, from), bytes.subarray(Math.min(from + length, bytes.length - 2))]);
}

/** A JPEG that ends early, properly closed. */
export function endedEarly(jpeg: Uint8Array, share: number): Buffer {
  return Buffer.concat([truncated(jpeg, share), Buffer.from([0xff, 0xd9])]);
}

/** A JPEG whose frame header says other sizes than its data have. */
export function withFrame(
  jpeg: Uint8Array,
  change: (rows: number, columns: number) => [number, number],
): Buffer {
  const out = Buffer.from(jpeg);
  const at = frameAt(out);
  const [rows, columns] = change(out.readUInt16BE(at + 5), out.readUInt16BE(at + 7));
  out.writeUInt16BE(rows, at + 5);
  out.writeUInt16BE(columns, at + 7);
  return out;
}

/** A PNG whose header gives other sizes than its data have; the checksum of the header is correct. */
export function withHeader(
  png: Uint8Array,
  change: (rows: number, columns: number) => [number, number],
): Buffer {
  const out = Buffer.from(png);
  const [rows, columns] = change(out.readUInt32BE(20), out.readUInt32BE(16));
  out.writeUInt32BE(columns, 16);
  out.writeUInt32BE(rows, 20);
  out.writeUInt32BE(crc32(out.subarray(12, 29)), 29);
  return out;
}

/** Where SOF0, SOF1 or SOF2 stands. */
function frameAt(jpeg: Buffer): number {
  let at = 2;
  while (![0xc0, 0xc1, 0xc2].includes(jpeg[at + 1]!)) at += 2 + jpeg.readUInt16BE(at + 2);
  return at;
}

/** Where the scans of a JPEG begin, with the tables before each, and where the end marker stands. */
export function scanStarts(jpeg: Uint8Array): { readonly starts: readonly number[]; readonly end: number } {
  const bytes = Buffer.from(jpeg);
  const starts: number[] = [];
  let tables: number | undefined;
  let at = 2;
  while (bytes[at + 1] !== 0xd9) {
    let next = at + 2 + bytes.readUInt16BE(at + 2);
    if (bytes[at + 1] === 0xda) {
      starts.push(tables ?? at);
      tables = undefined;
      const isMarker = () =>
        bytes[next] === 0xff && bytes[next + 1] !== 0 && (bytes[next + 1]! & 0xf8) !== 0xd0;
      while (!isMarker()) next++;
    } else tables ??= at;
    at = next;
  }
  return { starts, end: at };
}
