import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  blurGrid,
  edgeOffset,
  meanEmbedding,
  needsWholeImage,
  robustZ,
  robustZOf,
  secondViewProbability,
  smoothedScores,
} from '../../../src/scoring/patch-z.js';
import { createRandom } from '../../../src/util/random.js';

const SIDE = 5;

/** The definition: a weighted mean over all cells of an endless grid whose border values repeat outwards. */
function blurredByDefinition(values: Float32Array, sigma: number, row: number, column: number): number {
  const reach = Math.round(4 * sigma);
  const inside = (at: number): number => Math.min(SIDE - 1, Math.max(0, at));
  let [sum, total] = [0, 0];
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      const weight = Math.exp(-(y * y + x * x) / (2 * sigma * sigma));
      sum += weight * values[inside(row + y) * SIDE + inside(column + x)]!;
      total += weight;
    }
  }
  return sum / total;
}

describe('smoothed patch scores', () => {
  const random = createRandom(9);
  const values = Float32Array.from({ length: SIDE * SIDE }, () => random());

  it('are Gaussian means whose border values repeat outwards', () => {
    for (const sigma of [0.7, 1, 2]) {
      blurGrid(values, sigma).forEach((value, cell) => {
        const expected = blurredByDefinition(values, sigma, Math.floor(cell / SIDE), cell % SIDE);
        assert.ok(Math.abs(value - expected) < 1e-6, `${value} for ${expected}`);
      });
    }
  });

  it('keep a constant', () => {
    for (const value of blurGrid(new Float32Array(49).fill(0.25), 1))
      assert.ok(Math.abs(value - 0.25) < 1e-7);
  });

  it('are as they were for a model without smoothing and views', () => {
    const model = { scoring: {}, calibration: { patchMedian: [0], patchMad: [1] } };
    const embeddings = new Float32Array(SIDE * SIDE);
    assert.deepEqual(smoothedScores(model, { scores: values, embeddings }), {
      scores: values,
      secondView: 0,
    });
    assert.equal(needsWholeImage(model), false);
    assert.equal(needsWholeImage({ ...model, scoring: { blur: 1 } }), true);
  });
});

describe('robust z', () => {
  const tables = {
    patchMedian: [1, 2, 3, 4],
    patchMad: [1, 1, 1, 1],
    secondView: {
      names: ['PA', 'AP'] as [string, string],
      weights: [2, 0],
      bias: -1,
      patchMedian: [3, 4, 5, 6],
      patchMad: [3, 3, 3, 3],
    },
  };

  it('is that of a view where the view is certain, and in between where it is not', () => {
    assert.equal(robustZ(tables, 1, 5, 0), 3 / 1.4826);
    assert.equal(robustZ(tables, 1, 5, 1), 1 / (3 * 1.4826));
    assert.equal(robustZ(tables, 1, 5, 0.5), 2 / (2 * 1.4826));
  });

  it('finds the view by the mean embedding', () => {
    const embeddings = Float32Array.of(1, 8, 0, 8, 1, 8, 0, 8);
    assert.deepEqual([...meanEmbedding(embeddings, 4)], [0.5, 8]);
    assert.equal(secondViewProbability(tables.secondView, [0.5, 8]), 0.5);
    const model = { scoring: {}, calibration: tables };
    assert.equal(smoothedScores(model, { scores: new Float32Array(4), embeddings }).secondView, 0.5);
  });

  it('is lower towards the edge, the same in mirrored cells, and unchanged where all of the weight is equal', () => {
    assert.equal(edgeOffset(0, 2, 3), 3 * 0.5);
    assert.equal(edgeOffset(4, 3, 3), 0);
    assert.equal(edgeOffset(1, 3, 3), edgeOffset(5, 3, 3));
    assert.equal(edgeOffset(0, 3), 0);
    const scores = { scores: Float32Array.of(5, 5, 5, Number.NaN), secondView: 0 };
    const plain = robustZOf({ scoring: {}, calibration: tables }, scores);
    const offset = robustZOf({ scoring: { edgePenalty: 2 }, calibration: tables }, scores);
    assert.deepEqual(
      offset.slice(0, 3),
      plain.slice(0, 3).map((z) => z - 1),
    );
    assert.ok(Number.isNaN(offset[3]));
  });
});
