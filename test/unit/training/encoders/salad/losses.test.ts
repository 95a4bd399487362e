import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';
import * as fc from 'fast-check';
import { before, describe, it } from 'mocha';
import { buildTfjs } from '../../../../../src/network/tfjs/build.js';
import {
  type ContrastSample,
  contrastiveLoss,
  contrastiveLosses,
  createContrastBatch,
  memoryLogits,
  reconstructionLoss,
  twoViewLoss,
} from '../../../../../src/training/encoders/salad/losses.js';
import { createMemory, type TrainingMemory } from '../../../../../src/training/encoders/salad/memory.js';
import { randomStream } from '../../../../../src/training/encoders/salad/random-streams.js';

const oracles = JSON.parse(
  readFileSync(new URL('../../../../oracles/salad-oracles.json', import.meta.url), 'utf8'),
);
const TOLERANCE = 1e-4;
const T: number = oracles.T;

const unit = (degrees: number): [number, number] => [
  Math.cos((degrees * Math.PI) / 180),
  Math.sin((degrees * Math.PI) / 180),
];
const bank: TrainingMemory = {
  rows: 5,
  dimension: 2,
  values: Float32Array.from(oracles.bank_deg.flatMap((degrees: number) => unit(degrees))),
};
const close = (actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = TOLERANCE): void => {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < actual.length; i++) {
    assert.ok(Math.abs(actual[i]! - expected[i]!) <= tolerance, `[${i}] ${actual[i]} is not ${expected[i]}`);
  }
};
const sample = (row: number, neighbours: number[] = [], excluded: number[] = []): ContrastSample => ({
  row,
  neighbours,
  excluded,
});

/** p = softmax of the logits over the rows of a memory. */
function memoryProbabilities(z: tf.Tensor2D, rows: tf.Tensor2D, temperature: number): tf.Tensor {
  return tf.softmax(memoryLogits(z, rows, temperature));
}

interface Evaluation {
  loss: number;
  losses: number[];
  gradient: number[];
}
function evaluate(
  z: number[][],
  samples: ContrastSample[],
  memory: TrainingMemory = bank,
  negatives: Int32Array | null = null,
  normalise = false,
): Evaluation {
  return tf.tidy(() => {
    const batch = createContrastBatch(memory, samples, negatives);
    const loss = (v: tf.Tensor): tf.Scalar =>
      contrastiveLoss(normalise ? l2Normalize(v as tf.Tensor2D) : (v as tf.Tensor2D), batch, T);
    const { value, grad } = tf.valueAndGrad(loss)(tf.tensor2d(z));
    const each = contrastiveLosses(normalise ? l2Normalize(tf.tensor2d(z)) : tf.tensor2d(z), batch, T);
    return {
      loss: value.dataSync()[0]!,
      losses: Array.from(each.dataSync()),
      gradient: Array.from(grad.dataSync()),
    };
  });
}

/** Random unit rows. */
function randomUnit(rows: number, dimension: number, seed: number): TrainingMemory {
  const { values } = createMemory(rows, dimension, randomStream(seed));
  for (let r = 0; r < rows; r++) {
    const norm = Math.hypot(...values.subarray(r * dimension, (r + 1) * dimension));
    for (let d = 0; d < dimension; d++) values[r * dimension + d]! /= norm;
  }
  return { rows, dimension, values };
}
const rowsOf = (memory: TrainingMemory): number[][] =>
  Array.from({ length: memory.rows }, (_, r) =>
    Array.from(memory.values.subarray(r * memory.dimension, (r + 1) * memory.dimension)),
  );

const normaliser = buildTfjs(
  { inputSize: 1, nodes: [{ op: 'l2Normalize', name: 'embedding', input: 'input' }], output: 'embedding' },
  2,
);
/** L2 normalisation as in the network, v [B, 2] to z [B, 2]. */
function l2Normalize(v: tf.Tensor2D): tf.Tensor2D {
  const { output } = normaliser.forward(tf.reshape(v, [v.shape[0], 1, 1, 2]), {}, 'training');
  return tf.reshape(output, v.shape);
}

describe('SALAD losses', () => {
  before(async () => {
    await tf.setBackend('cpu');
  });

  describe('compared with salad-oracles.json', () => {
    it('compute the softmax over all rows', () => {
      const p = tf.tidy(() =>
        memoryProbabilities(
          tf.tensor2d([unit(oracles.softmax.z_deg)]),
          tf.tensor2d(rowsOf(bank)),
          T,
        ).dataSync(),
      );
      close(p, oracles.softmax.p);
    });

    it('compute the instance loss and its gradient', () => {
      const { z_deg, y, loss, dL_dz } = oracles.instance;
      const found = evaluate([unit(z_deg)], [sample(y)]);
      close([found.loss], [loss]);
      close(found.gradient, dL_dz);
    });

    it('propagate the gradient through the L2 norm, orthogonal to v', () => {
      const { v, y, dL_dv, v_dot_dL_dv } = oracles.through_l2norm;
      const { gradient } = evaluate([v], [sample(y)], bank, null, true);
      close(gradient, dL_dv);
      close([v[0] * gradient[0]! + v[1] * gradient[1]!], [v_dot_dL_dv]);
    });

    it('compute the neighbourhood loss of close neighbours', () => {
      const { z_deg, y, neighbours, loss, dL_dz } = oracles.neighbourhood;
      const found = evaluate([unit(z_deg)], [sample(y, neighbours)]);
      close([found.loss], [loss], 2e-6);
      close(found.gradient, dL_dz);
    });

    it('compute the neighbourhood loss of an anchor far from its row', () => {
      const { z_deg, y, neighbours, loss, instance_loss_same_y, dL_dz, p } = oracles.neighbourhood_2;
      const found = evaluate([unit(z_deg)], [sample(y, neighbours)]);
      close([found.loss], [loss]);
      close(found.gradient, dL_dz, 2e-4);
      close([evaluate([unit(z_deg)], [sample(y)]).loss], [instance_loss_same_y]);
      close(
        tf.tidy(() =>
          memoryProbabilities(tf.tensor2d([unit(z_deg)]), tf.tensor2d(rowsOf(bank)), T).dataSync(),
        ),
        p,
      );
    });

    it('average anchors and other samples of one batch', () => {
      const { samples, instance_loss_second, mean_loss } = oracles.batch;
      const found = evaluate(
        samples.map((entry: { z_deg: number }) => unit(entry.z_deg)),
        samples.map((entry: { y: number; neighbours?: number[] }) => sample(entry.y, entry.neighbours ?? [])),
      );
      close([found.losses[1]!], [instance_loss_second]);
      close([found.loss], [mean_loss]);
    });

    it('estimate the partition from sampled negatives', () => {
      const { z_deg, y, neg, loss } = oracles.sampled_partition;
      close([evaluate([unit(z_deg)], [sample(y)], bank, Int32Array.from(neg)).loss], [loss]);
    });

    it('upsample with aligned corners', () => {
      const { in: small, out } = oracles.upsample_align_corners_2x;
      const large = tf.tidy(() =>
        tf.image.resizeBilinear(tf.tensor3d(small.flat(), [2, 2, 1]), [4, 4], true).dataSync(),
      );
      close(large, out.flat());
    });
  });

  describe('properties', () => {
    const cases = fc.record({
      seed: fc.integer({ min: 1, max: 1e6 }),
      rows: fc.integer({ min: 4, max: 24 }),
      dimension: fc.integer({ min: 2, max: 8 }),
    });

    it('have probabilities that sum to one', () => {
      fc.assert(
        fc.property(cases, ({ seed, rows, dimension }) => {
          const memory = randomUnit(rows, dimension, seed);
          const p = tf.tidy(() =>
            memoryProbabilities(
              tf.tensor2d(rowsOf(randomUnit(1, dimension, seed + 1))),
              tf.tensor2d(rowsOf(memory)),
              T,
            ).dataSync(),
          );
          assert.ok(Math.abs(Array.from(p).reduce((a, b) => a + b, 0) - 1) < 1e-5);
        }),
        { numRuns: 30 },
      );
    });

    it('satisfy instance >= neighbourhood loss >= 0, and 0 where the neighbourhood is every row', () => {
      fc.assert(
        fc.property(cases, ({ seed, rows, dimension }) => {
          const memory = randomUnit(rows, dimension, seed);
          const z = rowsOf(randomUnit(1, dimension, seed + 1));
          const others = Array.from({ length: rows - 1 }, (_, i) => i + 1);
          const instance = evaluate(z, [sample(0)], memory).loss;
          const neighbourhood = evaluate(z, [sample(0, others.slice(0, 2))], memory).loss;
          assert.ok(instance >= neighbourhood - 1e-5);
          assert.ok(neighbourhood >= -1e-5);
          assert.ok(Math.abs(evaluate(z, [sample(0, others)], memory).loss) < 1e-5);
        }),
        { numRuns: 30 },
      );
    });

    it('do not change when z and the memory rotate together', () => {
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 359 }), fc.integer({ min: 0, max: 359 }), (turn, degrees) => {
          const turned: TrainingMemory = {
            ...bank,
            values: Float32Array.from(oracles.bank_deg.flatMap((at: number) => unit(at + turn))),
          };
          const still = evaluate([unit(degrees)], [sample(2, [1])]).loss;
          close([evaluate([unit(degrees + turn)], [sample(2, [1])], turned).loss], [still]);
        }),
        { numRuns: 30 },
      );
    });

    it('give the memory no gradient', () => {
      const gradient = tf.tidy(() => {
        const rows = tf.variable(tf.tensor2d(rowsOf(bank)));
        const batch = {
          ...createContrastBatch(bank, [sample(0)], null),
          rows: rows as unknown as tf.Tensor2D,
        };
        const z = tf.variable(tf.tensor2d([unit(5)]));
        const { grads } = tf.variableGrads(() => contrastiveLoss(z as unknown as tf.Tensor2D, batch, T), [z]);
        const fromMemory = tf.grads((query, memory) =>
          contrastiveLoss(query as tf.Tensor2D, { ...batch, rows: memory as tf.Tensor2D }, T),
        );
        assert.throws(
          () => fromMemory([tf.tensor2d([unit(5)]), tf.tensor2d(rowsOf(bank))]),
          /Cannot compute gradient/,
        );
        return Array.from(grads[z.name]!.dataSync());
      });
      close(gradient, oracles.instance.dL_dz);
    });

    it('agree with the full softmax where all other rows are sampled', () => {
      fc.assert(
        fc.property(cases, ({ seed, rows, dimension }) => {
          const memory = randomUnit(rows, dimension, seed);
          const z = rowsOf(randomUnit(1, dimension, seed + 1));
          const all = Int32Array.from({ length: rows }, (_, i) => i);
          const one = sample(1, [2], [3]);
          const full = evaluate(z, [one], memory);
          const drawn = evaluate(z, [one], memory, all);
          close([drawn.loss], [full.loss]);
          close(drawn.gradient, full.gradient, 1e-3);
        }),
        { numRuns: 20 },
      );
    });

    it('are near ln N + 1/(2 d T^2) with a new memory', () => {
      const memory = createMemory(2000, 200, randomStream(7));
      const samples = Array.from({ length: 16 }, (_, i) => sample(i));
      const { loss } = evaluate(rowsOf(randomUnit(16, 200, 8)), samples, memory);
      assert.ok(Math.abs(loss - (Math.log(2000) + 0.25)) < 0.6, `${loss}`);
    });

    it('ignore excluded rows, but no member of the neighbourhood', () => {
      const z = [unit(60)];
      const without = evaluate(z, [sample(2, [1], [3])]).loss;
      assert.ok(without < evaluate(z, [sample(2, [1])]).loss - 0.5);
      close([evaluate(z, [sample(2, [1], [1, 2])]).loss], [evaluate(z, [sample(2, [1])]).loss]);
    });
  });

  it('measure L1 and MSE over all pixels', () => {
    const [l1, mse] = tf.tidy(() => {
      const target = tf.tensor4d([0, 0, 0, 0], [1, 2, 2, 1]);
      const output = tf.tensor4d([1, -1, 0.5, 0], [1, 2, 2, 1]);
      return [
        reconstructionLoss(output, target, 'l1').dataSync()[0]!,
        reconstructionLoss(output, target, 'mse').dataSync()[0]!,
      ];
    });
    close([l1!, mse!], [0.625, 0.5625]);
  });

  it('are small for two views only where the views of a tile agree', () => {
    const views = tf.tensor2d([unit(0), unit(90), unit(180)]);
    const swapped = tf.tensor2d([unit(90), unit(0), unit(180)]);
    const none = tf.zeros([3, 3]) as tf.Tensor2D;
    const agreeing = twoViewLoss(views, views, none, T).dataSync()[0]!;
    assert.ok(agreeing < 1e-3);
    assert.ok(twoViewLoss(views, swapped, none, T).dataSync()[0]! > 5);
    close([twoViewLoss(views, swapped, none, T).dataSync()[0]!], [20 / 3], 1e-3);
  });
});
