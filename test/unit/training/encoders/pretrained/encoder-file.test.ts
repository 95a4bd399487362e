import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'mocha';
import {
  featureShapes,
  readEncoderFile,
} from '../../../../../src/training/encoders/pretrained/encoder-file.js';

const FILE = 'encoders/efficientnet-lite0.safetensors';
const folder = mkdtempSync(join(tmpdir(), 'salad-encoder-'));

/** The file with another header. */
function changed(name: string, change: (header: Record<string, never>) => unknown): string {
  const bytes = readFileSync(FILE);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = change(JSON.parse(bytes.subarray(8, 8 + length).toString()));
  const text = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  const file = join(folder, name);
  writeFileSync(file, Buffer.concat([size, text, bytes.subarray(8 + length)]));
  return file;
}

interface Header {
  __metadata__: Record<string, string>;
}

function withDescription(change: (description: Record<string, unknown>) => unknown) {
  return (header: unknown): unknown => {
    const { __metadata__, ...tensors } = header as Header;
    const description = change(JSON.parse(__metadata__['salad.encoder']!));
    return { ...tensors, __metadata__: { 'salad.encoder': JSON.stringify(description) } };
  };
}

describe('an encoder file', () => {
  after(() => rmSync(folder, { recursive: true }));

  it('lists the feature maps', async () => {
    const shapes = featureShapes(await readEncoderFile(FILE), 224);
    assert.deepEqual(
      shapes.map(({ height, channels }) => [height, channels]),
      [
        [28, 40],
        [14, 80],
        [14, 112],
      ],
    );
  });

  const refused: readonly (readonly [string, RegExp, (header: Record<string, never>) => unknown])[] = [
    ['metadata', /has no metadata salad\.encoder/, ({ __metadata__, ...tensors }) => tensors],
    ['a licence', /licence/, withDescription(({ licence: _, ...rest }) => rest)],
    ['features', /features/, withDescription((rest) => ({ ...rest, features: [] }))],
    [
      'known operations',
      /nodes/,
      withDescription((rest) => ({ ...rest, nodes: [{ name: 'a', op: 'swish' }] })),
    ],
  ];
  for (const [what, message, change] of refused) {
    it(`is refused without ${what}`, async () => {
      await assert.rejects(readEncoderFile(changed(`${what}.safetensors`, change)), {
        reason: 'CONFIGURATION_INVALID',
        message,
      });
    });
  }

  it('is refused where it is missing or something else', async () => {
    for (const file of [join(folder, 'missing'), 'package.json']) {
      await assert.rejects(readEncoderFile(file), { reason: 'CONFIGURATION_INVALID', message: /--encoder / });
    }
  });

  it('is refused where a weight is missing or a feature is no node', async () => {
    const encoder = await readEncoderFile(FILE);
    assert.throws(() => featureShapes({ ...encoder, weights: new Map() }, 224), { reason: 'BUNDLE_INVALID' });
    assert.throws(() => featureShapes({ ...encoder, features: ['b4', 'b99'] }, 224), {
      reason: 'BUNDLE_INVALID',
    });
  });
});
