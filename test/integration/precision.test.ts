import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { loadConfig } from '../../src/config/load.js';
import { writeSmallBundle } from '../support/engines/small-bundle.js';
import { scoreOnce } from '../support/servers/small-server.js';

describe('precision through the port', () => {
  let models: string;
  before(async () => {
    models = await mkdtemp(join(tmpdir(), 'salad-precision-'));
    await writeSmallBundle(models);
  });
  after(() => rm(models, { recursive: true, force: true }));

  it('is float32 by default, and on request of bfloat16 where the engine lacks it; the aggregate names it', async () => {
    for (const flags of [{}, { precision: 'bfloat16' }]) {
      const { aggregate } = await scoreOnce(models, flags);
      assert.deepEqual([aggregate.engines, aggregate.precisions], [['onnx'], ['float32']]);
    }
  });

  it('is never int8: the setting of older versions is refused with the reason', async () => {
    await assert.rejects(loadConfig({ flags: { models, precision: 'int8' } }), {
      reason: 'CONFIGURATION_INVALID',
      message: /int8 was removed/,
    });
  });
});
