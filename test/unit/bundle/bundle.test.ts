import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'mocha';
import { type BundleParts, readBundle, replaceDirectory, writeBundle } from '../../../src/bundle/bundle.js';
import { quantizeBank, quantizeWeights, type StoragePrecision } from '../../../src/bundle/tensors.js';
import { smallParts } from '../../reference/small-model.js';

const parts = smallParts(31);

/** The same parts with one thing of the manifest changed. */
function withManifest(change: Partial<BundleParts['manifest']>): BundleParts {
  return { ...parts, manifest: { ...parts.manifest, ...change } };
}

describe('a bundle', () => {
  let root: string;
  let directory: string;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'salad-bundle-'));
    directory = join(root, 'small', '1');
  });
  beforeEach(() => rm(join(root, 'small'), { recursive: true, force: true }));
  after(() => rm(root, { recursive: true, force: true }));

  it('is read as it was written', async () => {
    const written = await writeBundle(directory, parts);
    const read = await readBundle(directory);
    assert.deepEqual(read, written);
    assert.deepEqual(read.weights, parts.weights);
    assert.deepEqual(read.bank, parts.bank);
    assert.deepEqual(read.golden, parts.golden);
    assert.equal(read.geometry.patchGrid, 9);
    assert.match(read.sha256, /^[0-9a-f]{64}$/);
  });

  it('lies in shared memory, which is the file itself where nothing has to be converted', async () => {
    const { weights, bank, golden } = await writeBundle(directory, parts);
    const arrays = [...[...weights.values()].map(({ data }) => data), ...Object.values(golden)];
    for (const { buffer } of [...arrays, bank.prototypes, bank.positions, bank.sources]) {
      assert.ok(buffer instanceof SharedArrayBuffer);
    }
    assert.equal(bank.prototypes.buffer, bank.sources.buffer);
    const storage: StoragePrecision = { weights: () => 'F16', bank: 'F16' };
    const half = await writeBundle(directory, {
      ...parts,
      storage,
      weights: quantizeWeights(parts.weights, storage),
      bank: quantizeBank(parts.bank, storage),
    });
    assert.ok(half.bank.prototypes.buffer instanceof SharedArrayBuffer);
  });

  it('is read by its own name and version only where these are asked for', async () => {
    const { name, version } = (await writeBundle(directory, parts)).manifest;
    await readBundle(directory, { name, version });
    for (const other of [
      { name: 'other', version },
      { name, version: version + 1 },
    ]) {
      await assert.rejects(readBundle(directory, other), {
        reason: 'BUNDLE_INVALID',
        message: new RegExp(`holds ${name}@${version} and not ${other.name}@${other.version}`),
      });
    }
  });

  it('is refused, and no thread waits for ever, where a file of it is a folder or a pipe', async () => {
    await writeBundle(directory, parts);
    const path = join(directory, 'weights.safetensors');
    await rm(path);
    await mkdir(path);
    await assert.rejects(readBundle(directory), /weights.safetensors is not a file/);
    if (process.platform === 'win32') return;
    await rm(path, { recursive: true });
    execFileSync('mkfifo', [path]);
    await assert.rejects(readBundle(directory), /weights.safetensors is not a file/);
    await rm(join(directory, 'manifest.json'));
    execFileSync('mkfifo', [join(directory, 'manifest.json')]);
    await assert.rejects(readBundle(directory), /manifest.json is not a file/);
  });

  it('that cannot be put in place leaves the one before it as it was', async () => {
    await writeBundle(directory, parts);
    await assert.rejects(replaceDirectory(join(root, 'nowhere'), directory), { code: 'ENOENT' });
    await readBundle(directory);
    assert.deepEqual(await readdir(join(root, 'small')), ['1']);
  });

  it('is the same file by file when written again, and leaves nothing beside it', async () => {
    const first = await writeBundle(directory, parts);
    const second = await writeBundle(directory, parts);
    assert.equal(second.sha256, first.sha256);
    assert.deepEqual(await readdir(join(root, 'small')), ['1']);
  });

  it('holds half-precision values exactly as they were rounded', async () => {
    const storage: StoragePrecision = { weights: () => 'F16', bank: 'F16' };
    const rounded = {
      ...parts,
      storage,
      weights: quantizeWeights(parts.weights, storage),
      bank: quantizeBank(parts.bank, storage),
    };
    assert.notDeepEqual(rounded.bank, parts.bank);
    const read = await writeBundle(directory, rounded);
    assert.deepEqual(read.weights, rounded.weights);
    assert.deepEqual(read.bank, rounded.bank);
    const halved = read.manifest.files['weights.safetensors']!.bytes;
    const full = (await writeBundle(directory, parts)).manifest.files['weights.safetensors']!.bytes;
    assert.ok(halved < 0.75 * full);
  });

  it('refuses to round values behind the back of the calibration', async () => {
    await assert.rejects(writeBundle(directory, { ...parts, storage: { bank: 'F16' } }), /quantizeBank/);
    await assert.rejects(
      writeBundle(directory, { ...parts, storage: { weights: () => 'F16' } }),
      /quantizeWeights/,
    );
  });

  it('refuses a file that changed by one bit', async () => {
    await writeBundle(directory, parts);
    for (const file of [
      'weights.safetensors',
      'memory-bank.safetensors',
      'golden.safetensors',
      'MODEL_CARD.md',
    ]) {
      const path = join(directory, file);
      const bytes = await readFile(path);
      bytes[bytes.length - 1]! ^= 1;
      await writeFile(path, bytes);
      await assert.rejects(readBundle(directory), (error: Error) => error.message.includes(file));
      bytes[bytes.length - 1]! ^= 1;
      await writeFile(path, bytes);
    }
    await readBundle(directory);
  });

  it('refuses a missing file and a file cut short', async () => {
    await writeBundle(directory, parts);
    await writeFile(join(directory, 'golden.safetensors'), 'short');
    await assert.rejects(readBundle(directory), /golden.safetensors has 5 bytes/);
    await rm(join(directory, 'weights.safetensors'));
    await assert.rejects(readBundle(directory), /weights.safetensors cannot be read/);
    await assert.rejects(readBundle(join(root, 'nothing')), { reason: 'BUNDLE_INVALID' });
  });

  it('names the bad key of a manifest by its path', async () => {
    await writeBundle(directory, parts);
    const path = join(directory, 'manifest.json');
    const manifest = JSON.parse(await readFile(path, 'utf8')) as { tiling: Record<string, unknown> };
    manifest.tiling['patchStride'] = 'four';
    await writeFile(path, JSON.stringify(manifest));
    await assert.rejects(readBundle(directory), /tiling\.patchStride: /);
    await writeFile(path, '{');
    await assert.rejects(readBundle(directory), /is not JSON/);
  });

  it('refuses to read a file outside its folder', async () => {
    await writeBundle(directory, parts);
    const path = join(directory, 'manifest.json');
    const manifest = JSON.parse(await readFile(path, 'utf8')) as { files: Record<string, unknown> };
    manifest.files['../../secret'] = { sha256: '0'.repeat(64), bytes: 1 };
    await writeFile(path, JSON.stringify(manifest));
    await assert.rejects(readBundle(directory), /not the name of a file beside the manifest/);
  });

  const refused: [string, BundleParts, RegExp][] = [
    [
      'a network of another input size',
      withManifest({ tiling: { ...parts.manifest.tiling, haloSize: 5 } }),
      /takes 24 x 24 pixels, a tile has 22 x 22/,
    ],
    [
      'a tile of more cores than the network takes',
      withManifest({ tiling: { ...parts.manifest.tiling, coresPerTile: 3 } }),
      /takes 24 x 24 pixels, a tile has 24 x 48/,
    ],
    [
      'tiles that do not cover the image',
      withManifest({ tiling: { ...parts.manifest.tiling, coresPerTile: 2 } }),
      /workingSize 36 is not a multiple of coresPerTile \* coreSize = 24/,
    ],
    [
      'a network with another patch count',
      withManifest({ tiling: { ...parts.manifest.tiling, patchesPerSide: 2, patchStride: 6 } }),
      /cells; the patch grid has 36|gives 3 x 3 patches/,
    ],
    [
      'more neighbours than a cell sees',
      withManifest({ scoring: { ...parts.manifest.scoring, neighbourCount: 17 } }),
      /covers 16 prototypes, fewer than neighbourCount 17/,
    ],
    [
      'calibration of another grid',
      withManifest({ calibration: { ...parts.manifest.calibration, patchMad: [1] } }),
      /calibration.patchMad has 1 cells; the patch grid has 81/,
    ],
    [
      'calibration scores out of order',
      withManifest({ calibration: { ...parts.manifest.calibration, imageScores: [2, 1] } }),
      /imageScores must be ascending/,
    ],
    [
      'a margin that leaves no patch',
      withManifest({ scoring: { ...parts.manifest.scoring, aggregate: { topFraction: 0.1, margin: 5 } } }),
      /margin leaves no patch/,
    ],
    [
      'a prototype of an unknown image',
      { ...parts, bank: { ...parts.bank, sources: parts.bank.sources.map(() => 1) } },
      /not an index into training.sourceImages/,
    ],
    [
      'golden scores of another number of tiles',
      { ...parts, golden: { ...parts.golden, scores: parts.golden.scores.slice(9) } },
      /golden batch/,
    ],
  ];
  for (const [what, bad, message] of refused) {
    it(`refuses ${what}, and leaves nothing behind`, async () => {
      await assert.rejects(writeBundle(directory, bad), message);
      assert.deepEqual(await readdir(join(root, 'small')).catch(() => []), []);
    });
  }
});
