import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'mocha';
import { type BundleDraft, readBundle, replaceDirectory, writeBundle } from '../../../src/bundle/bundle.js';
import {
  roundBankForStorage,
  roundWeightsForStorage,
  type StoragePrecision,
} from '../../../src/bundle/tensors.js';
import { smallDraft } from '../../reference/small-model.js';

const draft = smallDraft(31);

/** The same draft with some fields of the manifest changed. */
function withManifest(change: Partial<BundleDraft['manifest']>): BundleDraft {
  return { ...draft, manifest: { ...draft.manifest, ...change } };
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
    const written = await writeBundle(directory, draft);
    const read = await readBundle(directory);
    assert.deepEqual(read, written);
    assert.deepEqual(read.weights, draft.weights);
    assert.deepEqual(read.bank, draft.bank);
    assert.deepEqual(read.golden, draft.golden);
    assert.equal(read.geometry.patchGrid, 9);
    assert.match(read.sha256, /^[0-9a-f]{64}$/);
  });

  it('is in shared memory, as views of the file where no value is converted', async () => {
    const { weights, bank, golden } = await writeBundle(directory, draft);
    const arrays = [...[...weights.values()].map(({ data }) => data), ...Object.values(golden)];
    for (const { buffer } of [...arrays, bank.prototypes, bank.positions, bank.sources]) {
      assert.ok(buffer instanceof SharedArrayBuffer);
    }
    assert.equal(bank.prototypes.buffer, bank.sources.buffer);
    const storage: StoragePrecision = { weights: () => 'F16', bank: 'F16' };
    const half = await writeBundle(directory, {
      ...draft,
      storage,
      weights: roundWeightsForStorage(draft.weights, storage),
      bank: roundBankForStorage(draft.bank, storage),
    });
    assert.ok(half.bank.prototypes.buffer instanceof SharedArrayBuffer);
  });

  it('is refused where another name or version is expected', async () => {
    const { name, version } = (await writeBundle(directory, draft)).manifest;
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

  it('is refused at once where a file is a folder or a named pipe', async () => {
    await writeBundle(directory, draft);
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

  it('stays as it was where its replacement fails', async () => {
    await writeBundle(directory, draft);
    await assert.rejects(replaceDirectory(join(root, 'nowhere'), directory), { code: 'ENOENT' });
    await readBundle(directory);
    assert.deepEqual(await readdir(join(root, 'small')), ['1']);
  });

  it('is the same in every file when it is written again, and leaves no other file', async () => {
    const first = await writeBundle(directory, draft);
    const second = await writeBundle(directory, draft);
    assert.equal(second.sha256, first.sha256);
    assert.deepEqual(await readdir(join(root, 'small')), ['1']);
  });

  it('stores half-precision values exactly as they were rounded', async () => {
    const storage: StoragePrecision = { weights: () => 'F16', bank: 'F16' };
    const rounded = {
      ...draft,
      storage,
      weights: roundWeightsForStorage(draft.weights, storage),
      bank: roundBankForStorage(draft.bank, storage),
    };
    assert.notDeepEqual(rounded.bank, draft.bank);
    const read = await writeBundle(directory, rounded);
    assert.deepEqual(read.weights, rounded.weights);
    assert.deepEqual(read.bank, rounded.bank);
    const halved = read.manifest.files['weights.safetensors']!.bytes;
    const full = (await writeBundle(directory, draft)).manifest.files['weights.safetensors']!.bytes;
    assert.ok(halved < 0.75 * full);
  });

  it('is refused where half-precision storage would change values that the calibration used', async () => {
    await assert.rejects(
      writeBundle(directory, { ...draft, storage: { bank: 'F16' } }),
      /roundBankForStorage/,
    );
    await assert.rejects(
      writeBundle(directory, { ...draft, storage: { weights: () => 'F16' } }),
      /roundWeightsForStorage/,
    );
  });

  it('refuses a file that changed by one bit', async () => {
    await writeBundle(directory, draft);
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

  it('refuses a missing file and a file that is too short', async () => {
    await writeBundle(directory, draft);
    await writeFile(join(directory, 'golden.safetensors'), 'short');
    await assert.rejects(readBundle(directory), /golden.safetensors has 5 bytes/);
    await rm(join(directory, 'weights.safetensors'));
    await assert.rejects(readBundle(directory), /weights.safetensors cannot be read/);
    await assert.rejects(readBundle(join(root, 'nothing')), { reason: 'BUNDLE_INVALID' });
  });

  it('names an invalid key of the manifest by its path', async () => {
    await writeBundle(directory, draft);
    const path = join(directory, 'manifest.json');
    const manifest = JSON.parse(await readFile(path, 'utf8')) as { tiling: Record<string, unknown> };
    manifest.tiling['patchStride'] = 'four';
    await writeFile(path, JSON.stringify(manifest));
    await assert.rejects(readBundle(directory), /tiling\.patchStride: /);
    await writeFile(path, '{');
    await assert.rejects(readBundle(directory), /is not JSON/);
  });

  it('refuses to read a file outside its folder', async () => {
    await writeBundle(directory, draft);
    const path = join(directory, 'manifest.json');
    const manifest = JSON.parse(await readFile(path, 'utf8')) as { files: Record<string, unknown> };
    manifest.files['../../secret'] = { sha256: '0'.repeat(64), bytes: 1 };
    await writeFile(path, JSON.stringify(manifest));
    await assert.rejects(readBundle(directory), /not the name of a file beside the manifest/);
  });

  const refused: [string, BundleDraft, RegExp][] = [
    [
      'a network of another input size',
      withManifest({ tiling: { ...draft.manifest.tiling, haloSize: 5 } }),
      /takes 24 x 24 pixels, a tile has 22 x 22/,
    ],
    [
      'a tile of more cores than the network takes',
      withManifest({ tiling: { ...draft.manifest.tiling, coresPerTile: 3 } }),
      /takes 24 x 24 pixels, a tile has 24 x 48/,
    ],
    [
      'tiles that do not cover the image',
      withManifest({ tiling: { ...draft.manifest.tiling, coresPerTile: 2 } }),
      /workingSize 36 is not a multiple of coresPerTile \* coreSize = 24/,
    ],
    [
      'a network with another patch count',
      withManifest({ tiling: { ...draft.manifest.tiling, patchesPerSide: 2, patchStride: 6 } }),
      /cells; the patch grid has 36|gives 3 x 3 patches/,
    ],
    [
      'more neighbours than a cell sees',
      withManifest({ scoring: { ...draft.manifest.scoring, neighbourCount: 17 } }),
      /covers 16 prototypes, fewer than neighbourCount 17/,
    ],
    [
      'calibration of another grid',
      withManifest({ calibration: { ...draft.manifest.calibration, patchMad: [1] } }),
      /calibration.patchMad has 1 cells; the patch grid has 81/,
    ],
    [
      'calibration scores out of order',
      withManifest({ calibration: { ...draft.manifest.calibration, imageScores: [2, 1] } }),
      /imageScores must be ascending/,
    ],
    [
      'a margin that leaves no patch',
      withManifest({ scoring: { ...draft.manifest.scoring, aggregate: { topFraction: 0.1, margin: 5 } } }),
      /margin leaves no patch/,
    ],
    [
      'a prototype of an unknown image',
      { ...draft, bank: { ...draft.bank, sources: draft.bank.sources.map(() => 1) } },
      /not an index into training.sourceImages/,
    ],
    [
      'golden scores of another number of tiles',
      { ...draft, golden: { ...draft.golden, scores: draft.golden.scores.slice(9) } },
      /golden batch/,
    ],
  ];
  for (const [what, bad, message] of refused) {
    it(`refuses ${what}, and leaves no files`, async () => {
      await assert.rejects(writeBundle(directory, bad), message);
      assert.deepEqual(await readdir(join(root, 'small')).catch(() => []), []);
    });
  }
});
