import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { makePhantom } from '../../../src/phantom/phantom.js';

/** A small grey PNG; every seed gives another picture. */
export function png(seed: number, side = 8): Promise<Buffer> {
  const pixels = Uint8Array.from({ length: side * side }, (_, at) => (at * 7 + seed * 31) % 256);
  return sharp(pixels, { raw: { width: side, height: side, channels: 1 } })
    .toColourspace('b-w')
    .png()
    .toBuffer();
}

/** A phantom as an 8-bit PNG, the upper 8 of its 12 bits, without its window. */
export function phantomPng(
  seed: number,
  size: number,
  lesion: 'none' | 'effusion' = 'none',
): Promise<Buffer> {
  const { samples } = makePhantom({ seed, size, lesion });
  const pixels = Uint8Array.from(samples, (value) => value >> 4);
  return sharp(pixels, { raw: { width: size, height: size, channels: 1 } })
    .toColourspace('b-w')
    .png()
    .toBuffer();
}

/** Writes files by their paths below a folder; a number stands for a small PNG of that seed. */
export async function writeFiles(
  folder: string,
  files: Readonly<Record<string, number | string | Uint8Array>>,
): Promise<string> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, typeof content === 'number' ? await png(content) : content);
  }
  return folder;
}
