import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { writeSmallBundle } from '../support/engines/small-bundle.js';
import { eventually } from '../support/eventually.js';
import { call, connectInference, infer } from '../support/protocol/open-inference.js';
import { SIDE, smallImage, smallModels, startSmall } from '../support/servers/small-server.js';

describe('the statistics of the Open Inference Protocol', function () {
  this.timeout(60_000);

  it('begin at zero again for a version that was unloaded and loaded again', async () => {
    const models = await smallModels();
    await writeSmallBundle(models.path, { name: 'other' });
    const server = await startSmall(models.path);
    const client = connectInference(server.address);
    try {
      const executions = async (name: string) => {
        const { modelStats } = await call(client, client.modelStatistics, { name, version: '1' });
        return modelStats[0]?.executionCount;
      };
      const score = (model: string) =>
        infer(client, { model, inputs: [{ datatype: 'UINT8', shape: [SIDE, SIDE], data: smallImage(1) }] });
      await Promise.all(['small', 'other'].map(score));
      await infer(client, {
        model: 'small.classify',
        inputs: [{ datatype: 'UINT8', shape: [1, SIDE, SIDE, 1], data: smallImage(1) }],
      });
      assert.deepEqual([await executions('small'), await executions('small.classify')], [1n, 1n]);

      server.registry.unload('small');
      await eventually(() => assert.ok(server.registry.versions().every(({ name }) => name !== 'small')));
      await server.registry.load('small');
      assert.deepEqual([await executions('small'), await executions('small.classify')], [0n, 0n]);
      assert.equal(await executions('other'), 1n);
      await score('small');
      assert.equal(await executions('small'), 1n);
    } finally {
      client.close();
      await server.stop(0);
      await models.remove();
    }
  });
});
