/** What it costs to check a whole file before it is decompressed: per image, beside the decompression alone. */

import type { Sharp } from 'sharp';
import { decodeImage } from '../../src/imaging/decode/decode.js';
import { readEncodedFile } from '../../src/imaging/decode/encoded-file.js';
import { loadSharp } from '../../src/imaging/libvips.js';
import { makePhantom } from '../../src/phantom/phantom.js';
import { median, spread } from '../support/figures.js';
import type { BenchOptions } from '../support/options.js';

const LIMITS = { maxPixels: 1 << 26 };

interface Kind {
  readonly name: string;
  readonly side: number;
  readonly bits: 8 | 16;
  readonly encode: (image: Sharp) => Sharp;
}

const KINDS: readonly Kind[] = [256, 2048].flatMap((side) => [
  { name: `PNG, ${side} x ${side}, 8 bit`, side, bits: 8, encode: (image) => image.png() },
  { name: `PNG, ${side} x ${side}, 12 of 16 bit`, side, bits: 16, encode: (image) => image.png() },
  { name: `JPEG, ${side} x ${side}`, side, bits: 8, encode: (image) => image.jpeg({ quality: 90 }) },
  {
    name: `progressive JPEG, ${side} x ${side}`,
    side,
    bits: 8,
    encode: (image) => image.jpeg({ quality: 90, progressive: true }),
  },
]);

export async function benchDecoding({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const repeats = quick ? 3 : 25;
  const results: Record<string, unknown> = {};
  for (const kind of KINDS) results[kind.name] = await measure(kind, repeats);
  return { repeats, milliseconds: results };
}

async function measure({ side, bits, encode }: Kind, repeats: number): Promise<Record<string, unknown>> {
  const { samples } = makePhantom({ seed: 3, size: side });
  const data = bits === 16 ? samples : Uint8Array.from(samples, (value) => value >> 4);
  const sharp = await loadSharp();
  const raw = sharp(data, { raw: { width: side, height: side, channels: 1 } });
  const bytes = await encode(raw.toColourspace(bits === 16 ? 'grey16' : 'b-w')).toBuffer();
  const decompress = () =>
    sharp(bytes, { ignoreIcc: true })
      .toColourspace(bits === 16 ? 'grey16' : 'b-w')
      .raw({ depth: bits === 16 ? 'ushort' : 'uchar' })
      .toBuffer();
  const check = async () => (await readEncodedFile(bytes, LIMITS.maxPixels)).check();
  const all = () => decodeImage(bytes, LIMITS);
  const times: Record<'check' | 'decompress' | 'all', number[]> = { check: [], decompress: [], all: [] };
  // The terms take turns, so that other programs on the machine slow them equally; the first round warms up.
  for (let round = 0; round <= repeats; round++) {
    for (const [name, work] of Object.entries({ check, decompress, all }) as [
      keyof typeof times,
      () => unknown,
    ][]) {
      const started = performance.now();
      await work();
      if (round > 0) times[name].push(performance.now() - started);
    }
  }
  const [checkMs, decompressMs] = [median(times.check), median(times.decompress)];
  return {
    bytes: bytes.length,
    check: checkMs,
    checkSpread: spread(times.check),
    decompress: decompressMs,
    decodeImage: median(times.all),
    'check / decompress': checkMs / decompressMs,
  };
}
