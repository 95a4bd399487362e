import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { SaladError } from '../../src/errors/index.js';
import { writeBundle } from '../../src/model/bundle.js';
import { writeSmallBundle } from '../support/small-bundle.js';
import { scoreOnce, startSmall } from '../support/small-server.js';

/** Spans what the small network's second convolution reads and writes of its random tiles. */
const RANGES = { relu1: { low: -1, high: 3 }, conv2: { low: -3, high: 3 } };

describe('precision through the port', () => {
  const folders: string[] = [];
  let models: string;
  before(async () => {
    models = await modelsWith(0.05);
  });
  after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

  /** The small bundle with an int8 form. */
  async function modelsWith(goldenTolerance: number): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'salad-precision-'));
    folders.push(folder);
    const { directory, manifest, weights, bank, golden } = await writeSmallBundle(folder);
    const { schemaVersion: _version, bank: _bank, files: _files, ...kept } = manifest;
    const int8 = { ranges: RANGES, goldenTolerance };
    await writeBundle(directory, {
      manifest: { ...kept, int8 },
      weights,
      bank,
      golden,
      modelCard: '# small\n',
    });
    return folder;
  }

  const score = (flags: Readonly<Record<string, unknown>>) => scoreOnce(models, flags);

  it('serves float32 unless told, and int8 with close scores; the aggregate names either', async () => {
    const plain = await score({});
    const int8 = await score({ precision: 'int8' });
    assert.deepEqual(plain.aggregate.precisions, ['float32']);
    assert.deepEqual(int8.aggregate.precisions, ['int8']);
    assert.equal(int8.scores.size, 64);
    const differences = [...plain.scores].map(([place, value]) => Math.abs(int8.scores.get(place)! - value));
    const largest = Math.max(...differences);
    assert.ok(largest > 1e-6 && largest < 0.05, `${largest}`);
  });

  it('stays float32 on an engine without integer kernels, and says so', async () => {
    const { aggregate } = await score({ precision: 'int8', engine: 'wasm' });
    assert.deepEqual(aggregate.precisions, ['float32']);
  });

  it('does not serve int8 that misses its golden tolerance', async () => {
    const strict = await modelsWith(1e-9);
    await assert.rejects(
      startSmall(strict, { precision: 'int8' }),
      (error) => error instanceof SaladError && /golden scores differ/.test(error.message),
    );
  });
});
