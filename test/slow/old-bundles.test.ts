import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { readBundle } from '../../src/bundle/bundle.js';
import type { Engine } from '../../src/engines/engine.js';
import { runGoldenCheck } from '../../src/engines/selection/golden-check.js';
import { createEngine } from '../../src/engines/selection/select.js';
import { makePhantom } from '../../src/phantom/phantom.js';
import type { RunningServer } from '../../src/server/server.js';
import { EARLIER_COMMIT, earlierFiles } from '../support/programs/earlier-commit.js';
import { startSmall } from '../support/servers/small-server.js';

const NAMES = ['chest-adult', 'chest-pediatric', 'phantom'];

/** Those of `models` at the commit; the present `models` has some of them in other versions only. */
describe(`the bundles of ${EARLIER_COMMIT}`, function () {
  this.timeout(180_000);
  let folder: string;
  let models: string;
  let engine: Engine | undefined;
  let server: RunningServer | undefined;

  before(async function () {
    folder = earlierFiles(this, 'old-bundles', 'models');
    models = join(folder, 'models');
    engine = await createEngine('onnx');
    server = await startSmall(models);
  });
  after(async () => {
    await engine?.dispose();
    await server?.stop(0);
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  it('are all served', () => {
    assert.deepEqual(readdirSync(models).sort(), NAMES);
    assert.deepEqual(
      server?.models,
      NAMES.map((name) => `${name}@1`),
    );
  });

  for (const name of NAMES) {
    it(`have their golden scores, and score an image: ${name}`, async () => {
      const bundle = await readBundle(join(models, name, '1'));
      const check = await runGoldenCheck(engine!, bundle);
      assert.ok(check.passed, check.reason);
      assert.ok((check.maxAbsScoreError ?? Number.POSITIVE_INFINITY) <= 1e-4, `${check.maxAbsScoreError}`);

      const client = new SaladClient(server!.address);
      try {
        const { rows, columns, samples } = makePhantom({ seed: 5, size: 512 });
        const image = { rows, columns, bitsAllocated: 16, bitsStored: 12 };
        const raw = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
        const aggregate = await client.scoreImage({ acquisitionId: name, model: { name }, image }, { raw });
        assert.equal(aggregate.model?.bundleSha256, bundle.sha256);
        assert.ok(Number.isFinite(aggregate.imageScore) && aggregate.pValue > 0 && aggregate.pValue <= 1);
        assert.ok((aggregate.coverage?.scored ?? 0) > 0);
        assert.deepEqual([aggregate.coverage?.failed, aggregate.coverage?.missing], [0, 0]);
      } finally {
        client.close();
      }
    });
  }
});
