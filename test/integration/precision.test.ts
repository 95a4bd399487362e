import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { SaladError } from '../../src/errors/index.js';
import { writeSmallInt8Bundle } from '../support/small-int8-bundle.js';
import { scoreOnce, startSmall } from '../support/small-server.js';

describe('precision through the port', () => {
  const folders: string[] = [];
  let models: string;
  before(async () => {
    models = await modelsWith(0.05);
  });
  after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

  async function modelsWith(goldenTolerance: number): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'salad-precision-'));
    folders.push(folder);
    await writeSmallInt8Bundle(folder, goldenTolerance);
    return folder;
  }

  const score = (flags: Readonly<Record<string, unknown>>) => scoreOnce(models, flags);

  it('is float32 by default; int8 gives close scores; the aggregate names both', async () => {
    const plain = await score({});
    const int8 = await score({ precision: 'int8' });
    assert.deepEqual(plain.aggregate.precisions, ['float32']);
    assert.deepEqual(int8.aggregate.precisions, ['int8']);
    assert.equal(int8.scores.size, 64);
    const differences = [...plain.scores].map(([place, value]) => Math.abs(int8.scores.get(place)! - value));
    const largest = Math.max(...differences);
    assert.ok(largest > 1e-6 && largest < 0.05, `${largest}`);
  });

  it('is float32 on an engine without integer kernels, and the aggregate names it', async () => {
    const { aggregate } = await score({ precision: 'int8', engine: 'wasm' });
    assert.deepEqual(aggregate.precisions, ['float32']);
  });

  it('is float32 where an engine without bfloat16 is asked for it', async () => {
    const { aggregate } = await score({ precision: 'bfloat16' });
    assert.deepEqual([aggregate.engines, aggregate.precisions], [['onnx'], ['float32']]);
  });

  it('is not int8 where the int8 form exceeds its golden tolerance: the server does not start', async () => {
    const strict = await modelsWith(1e-9);
    await assert.rejects(
      startSmall(strict, { precision: 'int8' }),
      (error) => error instanceof SaladError && /golden scores differ/.test(error.message),
    );
  });
});
