/** What decoding takes of memory, by kind of file, beside what it reserves (src/imaging/decode/decode.ts). */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import sharp, { type Sharp } from 'sharp';
import { root } from '../support/root.js';

const MIB = 1024 * 1024;
/**
 * Parts of inflated data and rows of grey that V8 has not collected yet: docs/explanation/memory.md has 128 MiB for a
 * server.
 */
const GARBAGE_BYTES = 64 * MIB;

interface Measured {
  readonly peak: number;
  readonly reserved: number;
  /** Above the start, once garbage is collected, after each decoding. */
  readonly kept: readonly number[];
}

/** Decodes files one after another in a process of their own. */
function measure(...files: readonly string[]): Measured {
  const script = join(root, 'test/slow/decode-memory/decode-once.ts');
  const flags = ['--expose-gc', '--import', 'tsx', script, ...files];
  return JSON.parse(execFileSync(process.execPath, flags, { cwd: root, encoding: 'utf8' })) as Measured;
}

/** Grain on a ramp, so that nothing compresses to nothing. */
function picture(columns: number, rows: number, channels: 1 | 3 | 4, isWide = false): Sharp {
  const line = Uint8Array.from({ length: columns * channels * (isWide ? 2 : 1) }, (_, i) => {
    const hash = Math.imul(i + 1, 2_654_435_761) >>> 29;
    return ((i / 97) & 255) ^ hash;
  });
  const bytes = Buffer.alloc(line.length * rows);
  for (let row = 0; row < rows; row++) bytes.set(line, row * line.length);
  const data = isWide ? new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2) : bytes;
  const image = sharp(data, { raw: { width: columns, height: rows, channels }, limitInputPixels: false });
  if (isWide) return image.toColourspace(channels === 1 ? 'grey16' : 'rgb16');
  return channels === 1 ? image.toColourspace('b-w') : image;
}

const SIDE = 4500;
const PNG = { compressionLevel: 1 } as const;
const FULL = { chromaSubsampling: '4:4:4' } as const;
const KINDS: readonly (readonly [string, () => Sharp])[] = [
  ['grey PNG', () => picture(SIDE, SIDE, 1).png(PNG)],
  ['16-bit grey PNG', () => picture(SIDE, SIDE, 1, true).png(PNG)],
  ['colour PNG', () => picture(SIDE, SIDE, 3).png(PNG)],
  ['16-bit RGBA PNG', () => picture(SIDE, SIDE, 4, true).png(PNG)],
  ['interlaced grey PNG', () => picture(SIDE, SIDE, 1).png({ ...PNG, progressive: true })],
  ['interlaced 16-bit RGBA PNG', () => picture(SIDE, SIDE, 4, true).png({ ...PNG, progressive: true })],
  ['grey JPEG', () => picture(SIDE, SIDE, 1).jpeg()],
  ['colour JPEG', () => picture(SIDE, SIDE, 3).jpeg(FULL)],
  ['progressive grey JPEG', () => picture(SIDE, SIDE, 1).jpeg({ progressive: true })],
  ['progressive colour JPEG, subsampled', () => picture(SIDE, SIDE, 3).jpeg({ progressive: true })],
  ['progressive colour JPEG', () => picture(SIDE, SIDE, 3).jpeg({ ...FULL, progressive: true })],
  ['wide 16-bit RGBA PNG', () => picture(65_535, 300, 4, true).png(PNG)],
  ['tall 16-bit RGBA PNG', () => picture(300, 65_535, 4, true).png(PNG)],
  ['wide colour JPEG', () => picture(65_000, 300, 3).jpeg(FULL)],
  ['tall progressive JPEG', () => picture(300, 65_000, 3).jpeg({ ...FULL, progressive: true })],
];

describe('the memory of decoding', function () {
  this.timeout(300_000);
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'salad-decode-memory-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  for (const [kind, make] of KINDS) {
    it(`is less than the reserved memory: ${kind}`, async () => {
      const file = join(folder, 'image');
      writeFileSync(file, await make().toBuffer());
      const { peak, reserved } = measure(file);
      console.log(`      ${(peak / MIB).toFixed(0)} MiB, ${(reserved / MIB).toFixed(0)} MiB reserved`);
      assert.ok(peak <= reserved + GARBAGE_BYTES, `${peak} bytes, ${reserved} reserved`);
      // Not by reserving far too much.
      assert.ok(reserved <= 1.5 * peak + GARBAGE_BYTES, `${reserved} bytes reserved, ${peak} taken`);
    });
  }

  it('does not grow with the images decoded, one after another', async () => {
    const files: string[] = [];
    for (let quality = 80; quality < 92; quality++) {
      const file = join(folder, `image-${quality}`);
      writeFileSync(file, await picture(4000, 4000, 1).jpeg({ progressive: true, quality }).toBuffer());
      files.push(file);
    }
    const { kept } = measure(...files);
    console.log(`      kept: ${kept.map((bytes) => (bytes / MIB).toFixed(0)).join(', ')} MiB`);
    // The coefficients of each, 32 MiB, would stay in libvips' cache. malloc keeps some room of its own at first.
    assert.ok(kept.at(-1)! - kept[5]! < 32 * MIB, String(kept));
  });
});
