import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { topMean } from '../../../src/scoring/aggregate.js';
import { imagePValue, medianAndMad, thresholdFor } from '../../../src/scoring/calibration.js';
import { kCenterCoreset } from '../../../src/scoring/coreset.js';
import { neighbourWeights } from '../../../src/scoring/knn.js';
import { robustZ } from '../../../src/scoring/patch-z.js';
import {
  distanceFromCosine,
  patchScoreFromSimilarities,
  weightedPrototypeDistance,
} from '../../reference/score.js';

interface Weighted {
  z_deg: number;
  K: number;
  tau: number;
  idx: number[];
  w: number[];
  W1_weighted_mean_distance: number;
  W2_distance_to_weighted_prototype: number;
  uniform_mean: number;
}
interface Oracles {
  bank_deg: number[];
  angular_knn: { z_deg: number; d: number[]; K: number; score: number };
  weighted_knn: Weighted;
  weighted_knn_far: Weighted;
  kcenter: { order: number[]; radius_chord_after_1_to_5: number[] };
  calibration: {
    cal: number[];
    alpha: number;
    threshold: number;
    p_value: { s: number; p: number }[];
    median: number;
    mad: number;
    'robust_z_of_0.40': number;
  };
  top_q: { tiles: number[]; q_frac: number; score: number };
  acos_clamp: { dot: number[]; d: number[] };
}
const oracles = JSON.parse(
  readFileSync(new URL('../../oracles/salad-oracles.json', import.meta.url), 'utf8'),
) as Oracles;

/** The oracles are rounded to this. */
const TOLERANCE = 1e-4;
const EXACT = 1e-6;

function close(actual: number, expected: number, tolerance = TOLERANCE): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`);
}

function unit(degrees: number): number[] {
  return [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
}

const bank = Float32Array.from(oracles.bank_deg.flatMap(unit));

/** Row numbers and cosines of the K nearest, nearest first, ties to the lowest row. */
function nearest(degrees: number, k: number): { rows: number[]; cosines: number[] } {
  const z = unit(degrees);
  const all = oracles.bank_deg.map((_, row) => ({
    row,
    // Rounded to float32 precision so that rows at the same angle tie.
    cosine: Math.fround(z[0]! * bank[2 * row]! + z[1]! * bank[2 * row + 1]!),
  }));
  all.sort((a, b) => (Math.abs(a.cosine - b.cosine) < 1e-6 ? a.row - b.row : b.cosine - a.cosine));
  return {
    rows: all.slice(0, k).map(({ row }) => row),
    cosines: all.slice(0, k).map(({ cosine }) => cosine),
  };
}

describe('scoring, compared with salad-oracles.json', () => {
  it('averages the K nearest angular distances', () => {
    const { z_deg, K, d, score } = oracles.angular_knn;
    const { cosines } = nearest(z_deg, 5);
    cosines.forEach((cosine, index) => {
      close(distanceFromCosine(cosine, 'angular'), d[index]!);
    });
    const scoring = { distance: 'angular', form: 'mean', temperature: 0.1 } as const;
    close(patchScoreFromSimilarities(Float32Array.from(cosines), 0, K, scoring).score, score);
  });

  for (const key of ['weighted_knn', 'weighted_knn_far'] as const) {
    it(`weights neighbours by the softmax of their cosines (${key})`, () => {
      const oracle = oracles[key];
      const { rows, cosines } = nearest(oracle.z_deg, oracle.K);
      assert.deepEqual(rows, oracle.idx);
      neighbourWeights(cosines, oracle.tau).forEach((weight, index) => {
        close(weight, oracle.w[index]!);
      });
      const score = (form: 'mean' | 'weighted'): number =>
        patchScoreFromSimilarities(cosines, 0, oracle.K, {
          distance: 'angular',
          form,
          temperature: oracle.tau,
        }).score;
      close(score('weighted'), oracle.W1_weighted_mean_distance);
      close(score('mean'), oracle.uniform_mean);
      close(
        weightedPrototypeDistance(unit(oracle.z_deg), bank, rows, oracle.tau),
        oracle.W2_distance_to_weighted_prototype,
      );
    });
  }

  it('clamps cosines that exceed one by rounding', () => {
    oracles.acos_clamp.dot.forEach((dot, index) => {
      close(distanceFromCosine(dot, 'angular'), oracles.acos_clamp.d[index]!, 0);
    });
  });

  it('selects the k-center rows in order and returns the cover radius after each', async () => {
    const { indices, radii } = await kCenterCoreset(bank, 2, { size: 5 });
    assert.deepEqual([...indices], oracles.kcenter.order);
    radii.forEach((radius, index) => {
      close(radius, oracles.kcenter.radius_chord_after_1_to_5[index]!);
    });
  });

  it('computes thresholds, p-values and robust z', () => {
    const { calibration } = oracles;
    const tables = { imageScores: calibration.cal };
    assert.equal(thresholdFor(tables, calibration.alpha), calibration.threshold);
    for (const { s, p } of calibration.p_value) close(imagePValue(tables, s), p, EXACT);
    const { median, mad } = medianAndMad(calibration.cal);
    close(median, calibration.median, EXACT);
    close(mad, calibration.mad, EXACT);
    close(
      robustZ({ patchMedian: [median], patchMad: [mad] }, 0, 0.4),
      calibration['robust_z_of_0.40'],
      EXACT,
    );
  });

  it('averages the top fraction', () => {
    close(topMean(oracles.top_q.tiles, oracles.top_q.q_frac), oracles.top_q.score, EXACT);
  });
});
