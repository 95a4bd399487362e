/** Tests SALAD training on a backend against the cpu backend: the same seed must give nearly the same losses and weights. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { prepareTrainingBackend, type TrainingBackendName } from '../../../src/training/backend/prepare.js';
import { type TrainedEncoder, trainSaladEncoder } from '../../../src/training/encoders/salad/trainer.js';
import { syntheticTiles, tinyConfig } from '../../unit/training/encoders/salad/synthetic-tiles.js';

async function trainOn(name: TrainingBackendName): Promise<TrainedEncoder> {
  const backend = await prepareTrainingBackend(name);
  assert.equal(backend.name, name, backend.fallbackReason);
  try {
    return await trainSaladEncoder({ tiles: syntheticTiles(7, 2, 16, 1), config: tinyConfig({}), seed: 5 });
  } finally {
    backend.release?.();
  }
}

export function trainingSuite(name: TrainingBackendName, timeoutMs: number): void {
  describe(`training on ${name}`, function () {
    this.timeout(timeoutMs);

    it('has the losses and weights of the cpu backend after warm-up and all rounds', async () => {
      const expected = await trainOn('cpu');
      const actual = await trainOn(name);
      assert.equal(actual.history.length, expected.history.length);
      expected.history.forEach(({ loss, reconstructionLoss }, epoch) => {
        const found = actual.history[epoch]!;
        assert.ok(Math.abs(found.loss - loss) < 2e-3 * loss, `epoch ${epoch}: ${found.loss} is not ${loss}`);
        assert.ok(Math.abs(found.reconstructionLoss! - reconstructionLoss!) < 2e-3 * reconstructionLoss!);
      });
      for (const [weight, { data }] of expected.weights) {
        const found = actual.weights.get(weight)!.data;
        data.forEach((value, at) => {
          assert.ok(Math.abs(value - found[at]!) < 0.01, `${weight}[${at}]: ${found[at]} is not ${value}`);
        });
      }
    });
  });
}
