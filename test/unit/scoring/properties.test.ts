import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { imageScore, innerCells } from '../../../src/scoring/aggregate.js';
import {
  aggregateImage,
  fitCalibrationTables,
  fitPatchTables,
  imagePValue,
  minFalsePositiveRate,
  patchPValue,
  thresholdFor,
} from '../../../src/scoring/calibration.js';
import { kCenterCoreset } from '../../../src/scoring/coreset.js';
import {
  distanceFromSquaredChord,
  patchScoreFromDistances,
  squaredDistance,
} from '../../../src/scoring/knn.js';
import {
  candidatesPerCell,
  checkMemoryBank,
  normaliseRows,
  searchWindow,
} from '../../../src/scoring/memory-bank.js';
import { robustZ, type SmoothedScores } from '../../../src/scoring/patch-z.js';
import { createRandom } from '../../../src/util/random.js';
import { patchScoreFromSimilarities } from '../../reference/score.js';

const DIMENSION = 4;
const SEED = { seed: 20261123 };
const MEAN = { distance: 'angular', form: 'mean', temperature: 0.1 } as const;

function unitRows(rows: number, seed: number): Float32Array {
  const random = createRandom(seed);
  return normaliseRows(
    Float32Array.from({ length: rows * DIMENSION }, () => random() - 0.5),
    DIMENSION,
  );
}

/** Ascending angular distances of one vector to rows of a bank. */
function distances(z: Float32Array, bank: Float32Array): number[] {
  return Array.from({ length: bank.length / DIMENSION }, (_, row) =>
    distanceFromSquaredChord(squaredDistance(z, 0, bank, row * DIMENSION, DIMENSION), 'angular'),
  ).sort((a, b) => a - b);
}

const scores = fc.array(fc.double({ min: -5, max: 5, noNaN: true }), { minLength: 1, maxLength: 60 });
const ascending = scores.map((values) => values.sort((a, b) => a - b));

describe('patch score', () => {
  it('never falls when K grows', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 2, max: 30 }), (seed, rows) => {
        const sorted = distances(unitRows(1, seed), unitRows(rows, seed + 1));
        for (let k = 2; k <= rows; k++) {
          const less = patchScoreFromDistances(sorted, 0, k - 1, MEAN);
          assert.ok(patchScoreFromDistances(sorted, 0, k, MEAN) >= less - 1e-12);
        }
      }),
      SEED,
    );
  });

  it('never rises when a row is added to the bank', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.integer({ min: 3, max: 20 }),
        fc.integer({ min: 1, max: 3 }),
        (seed, rows, k) => {
          const z = unitRows(1, seed);
          const bank = unitRows(rows + 1, seed + 1);
          const before = patchScoreFromDistances(distances(z, bank.subarray(DIMENSION)), 0, k, MEAN);
          assert.ok(patchScoreFromDistances(distances(z, bank), 0, k, MEAN) <= before + 1e-12);
        },
      ),
      SEED,
    );
  });

  it('is in the weighted form at most the mean and at least the smallest distance', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 9 }),
        (values) => {
          for (const distance of ['angular', 'chord'] as const) {
            const scoring = { distance, temperature: 0.1 };
            const mean = patchScoreFromSimilarities(values, 0, values.length, { ...scoring, form: 'mean' });
            const weighted = patchScoreFromSimilarities(values, 0, values.length, {
              ...scoring,
              form: 'weighted',
            });
            assert.ok(weighted.score <= mean.score + 1e-9);
            assert.ok(weighted.score >= Math.min(...mean.distances) - 1e-9);
          }
        },
      ),
      SEED,
    );
  });

  it('is the same from the cosine and from the difference, except for float32 rounding of cosines near one', () => {
    const z = unitRows(1, 3);
    const bank = unitRows(40, 4);
    for (let row = 0; row < 40; row++) {
      let cosine = 0;
      for (let axis = 0; axis < DIMENSION; axis++) cosine += z[axis]! * bank[row * DIMENSION + axis]!;
      for (const distance of ['angular', 'chord'] as const) {
        const exact = distanceFromSquaredChord(
          squaredDistance(z, 0, bank, row * DIMENSION, DIMENSION),
          distance,
        );
        const { score } = patchScoreFromSimilarities([cosine], 0, 1, { ...MEAN, distance });
        assert.ok(Math.abs(exact - score) < 1e-5);
      }
    }
  });
});

describe('greedy k-center coreset', () => {
  it('has radii that never increase, and every row is nearest to one selected row', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 2, max: 40 }), async (seed, rows) => {
        const all = unitRows(rows, seed);
        const size = Math.ceil(rows / 3);
        const { indices, radii, multiplicities } = await kCenterCoreset(all, DIMENSION, { size });
        assert.ok(radii.every((radius, index) => index === 0 || radius <= radii[index - 1]!));
        assert.equal(
          multiplicities.reduce((a, b) => a + b, 0),
          rows,
        );
        assert.equal(new Set(indices).size, indices.length);
      }),
      { ...SEED, numRuns: 30 },
    );
  });

  it('increases the distance to the nearest row by at most its cover radius', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 2, max: 40 }), async (seed, rows) => {
        const all = unitRows(rows, seed);
        const z = unitRows(1, seed + 1);
        const { indices, radii } = await kCenterCoreset(all, DIMENSION, { size: Math.ceil(rows / 4) });
        const kept = Float32Array.from(
          Array.from(indices).flatMap((row) => [...all.subarray(row * DIMENSION, (row + 1) * DIMENSION)]),
        );
        const excess = distances(z, kept)[0]! - distances(z, all)[0]!;
        assert.ok(excess >= 0);
        assert.ok(excess <= distanceFromSquaredChord(radii.at(-1)! ** 2, 'angular') + 1e-6);
      }),
      { ...SEED, numRuns: 50 },
    );
  });

  it('stops when only repeated rows are left', async () => {
    const row = unitRows(1, 1);
    const rows = Float32Array.from([...row, ...row, ...unitRows(1, 2), ...row]);
    const { indices, multiplicities } = await kCenterCoreset(rows, DIMENSION, { size: 4 });
    assert.deepEqual([...indices], [0, 2]);
    assert.deepEqual([...multiplicities], [3, 1]);
  });

  it('stops when its signal aborts', async () => {
    const signal = AbortSignal.abort();
    const rows = unitRows(6000, 5);
    await assert.rejects(kCenterCoreset(rows, DIMENSION, { size: 6000, signal }), { reason: 'CANCELLED' });
  });
});

describe('calibration', () => {
  it('gives p-values in (0, 1] that never increase with the score', () => {
    fc.assert(
      fc.property(
        ascending,
        fc.double({ min: -6, max: 6, noNaN: true }),
        fc.double({ min: 0, max: 3, noNaN: true }),
        (cal, s, more) => {
          const p = imagePValue({ imageScores: cal }, s);
          assert.ok(p > 0 && p <= 1);
          assert.ok(imagePValue({ imageScores: cal }, s + more) <= p);
          assert.ok(patchPValue({ patchZQuantiles: cal }, s) === p);
        },
      ),
      SEED,
    );
  });

  it('flags at most the nominal share of the calibration set, and only where p is at most the rate', () => {
    fc.assert(
      fc.property(ascending, fc.double({ min: 0.02, max: 0.9, noNaN: true }), (cal, rate) => {
        const tables = { imageScores: cal };
        fc.pre(rate >= minFalsePositiveRate(tables) + 1e-6);
        const threshold = thresholdFor(tables, rate);
        const flagged = cal.filter((score) => score > threshold);
        assert.ok(flagged.length / (cal.length + 1) <= rate + 1e-6);
        for (const score of flagged) assert.ok(imagePValue(tables, score) <= rate + 1e-6);
      }),
      SEED,
    );
  });

  it('flags new normals at the nominal rate', () => {
    const random = createRandom(1);
    let flagged = 0;
    const trials = 4000;
    for (let trial = 0; trial < trials; trial++) {
      const imageScores = Array.from({ length: 39 }, random).sort((a, b) => a - b);
      if (random() > thresholdFor({ imageScores }, 0.1)) flagged++;
    }
    // Exactly 0.1 in expectation (k = 36 of 39); the standard error is 0.0047.
    assert.ok(Math.abs(flagged / trials - 0.1) < 0.015);
  });

  it('refuses a rate that the set is too small for', () => {
    const tables = { imageScores: Array.from({ length: 98 }, (_, i) => i) };
    assert.throws(() => thresholdFor(tables, 0.01), { reason: 'FALSE_POSITIVE_RATE_UNREACHABLE' });
    assert.equal(thresholdFor({ imageScores: [...tables.imageScores, 98] }, 0.01), 98);
    assert.throws(() => thresholdFor(tables, 1), { reason: 'FALSE_POSITIVE_RATE_UNREACHABLE' });
    assert.throws(() => thresholdFor(tables, Number.NaN), { reason: 'FALSE_POSITIVE_RATE_UNREACHABLE' });
  });

  it('raises the spread of a cell to at least 0.3 of the median spread', () => {
    const images = Array.from({ length: 60 }, (_, i) => Float32Array.of(i, 2 * i, 5, i));
    const { patchMedian, patchMad } = fitPatchTables(images);
    assert.deepEqual(patchMedian, [29.5, 59, 5, 29.5]);
    assert.equal(patchMad[0], 15);
    assert.ok(Math.abs(patchMad[2]! - 0.3 * 15) < 1e-9);
  });

  it('widens the spread of a cell by its upper tail and never narrows it', () => {
    // 60 scores: three symmetric cells, and one whose upper fifth is far from the rest.
    const images = Array.from({ length: 60 }, (_, i) => Float32Array.of(i, i < 48 ? i : 10 * i, i, i));
    const { patchMad } = fitPatchTables(images);
    assert.equal(patchMad[0], 15);
    // The 90 % quantile of the second cell lies between the scores 530 and 540; 1.9 MAD of a normal distribution.
    const upper = (531 - 29.5) / (1.2815515655446004 / 0.6744897501960817);
    assert.ok(Math.abs(patchMad[1]! - upper) < 1e-3 * upper, `${patchMad[1]} ${upper}`);
  });

  it('pools the scores of all cells for a cell with too few scores', () => {
    const images = Array.from({ length: 60 }, (_, i) => Float32Array.of(i, i < 10 ? 100 : Number.NaN));
    const tables = fitPatchTables(images);
    assert.equal(tables.patchMedian[0], 29.5);
    assert.equal(tables.patchMedian[1], 34.5);
  });

  it('rounds robust z to float32 before it aggregates an image', () => {
    const tables = { patchMedian: [0.1, 0.2, 0.3, 0.4], patchMad: [0.3, 0.7, 0.9, 1.1] };
    const scores = Float32Array.of(0.7, Number.NaN, 0.9, 0.3);
    const aggregate = { topFraction: 0.5, margin: 0 };
    const { patchZ, score } = aggregateImage(
      { scores, secondView: 0 },
      { calibration: tables, scoring: { aggregate } },
      { patchGrid: 2 },
    );
    const expected = Float32Array.from(scores, (value, cell) => robustZ(tables, cell, value));
    assert.deepEqual(patchZ, expected);
    assert.equal(score, (expected[0]! + expected[2]!) / 2);
  });

  it('fits tables under which a normal of the same distribution is not anomalous', () => {
    const random = createRandom(4);
    const images = (count: number): SmoothedScores[] =>
      Array.from({ length: count }, () => ({
        scores: Float32Array.from({ length: 16 }, (_, cell) => cell + random()),
        secondView: 0,
      }));
    const aggregate = { topFraction: 0.25, margin: 0 };
    const tables = fitCalibrationTables(images(80), images(40), { patchGrid: 4 }, { aggregate });
    assert.equal(tables.imageScores.length, 40);
    assert.equal(tables.patchZQuantiles.length, 1001);
    assert.ok(tables.patchZQuantiles.every((z, i) => i === 0 || z >= tables.patchZQuantiles[i - 1]!));
    const z = Float64Array.from(images(1)[0]!.scores, (score, cell) => robustZ(tables, cell, score));
    assert.ok(imagePValue(tables, imageScore(z, { patchGrid: 4 }, aggregate)) > 1 / 41);
    assert.throws(() => fitCalibrationTables([], [], { patchGrid: 4 }, { aggregate }), {
      reason: 'TRAINING_DATA_INVALID',
    });
  });
});

describe('image score', () => {
  it('leaves out the margin and the patches that were not scored', () => {
    const z = Array.from({ length: 16 }, (_, i) => i);
    z[5] = Number.NaN;
    assert.deepEqual(
      innerCells(z, { patchGrid: 4 }, 1).map((cell) => z[cell]),
      [6, 9, 10],
    );
    assert.equal(imageScore(z, { patchGrid: 4 }, { topFraction: 0.5, margin: 1 }), 9.5);
  });

  it('is NaN where no patch was scored', () => {
    const nothing = Array<number>(9).fill(Number.NaN);
    assert.ok(Number.isNaN(imageScore(nothing, { patchGrid: 3 }, { topFraction: 1, margin: 0 })));
  });
});

describe('memory bank', () => {
  const bank = {
    rows: 3,
    dimension: DIMENSION,
    prototypes: unitRows(3, 6),
    positions: Int32Array.of(0, 0, 0, 1, 2, 2),
    sources: Int32Array.of(0, 0, 0),
  };

  it('is searched within the radius of a cell', () => {
    const window = searchWindow(bank, 3, 1);
    assert.deepEqual([...window.subarray(0, 3)], [1, 1, 0]);
    assert.deepEqual([...window.subarray(4 * 3, 5 * 3)], [1, 1, 1]);
    assert.deepEqual([...window.subarray(8 * 3, 9 * 3)], [0, 0, 1]);
    const counts = Array.from({ length: 9 }, (_, cell) =>
      window.subarray(cell * 3, cell * 3 + 3).reduce((a, b) => a + b, 0),
    );
    assert.deepEqual([...candidatesPerCell(bank, 3, 1)], counts);
    assert.deepEqual([...candidatesPerCell(bank, 3, null)], Array<number>(9).fill(3));
  });

  it('is refused with a row that is not of unit length or outside the grid, or with too few prototypes for a cell', () => {
    const all = { neighbourCount: 3, searchRadius: null };
    checkMemoryBank(bank, 3, all);
    assert.throws(() => checkMemoryBank(bank, 2, all), /row 2 lies outside/);
    assert.throws(() => checkMemoryBank(bank, 3, { ...all, neighbourCount: 4 }), /covers 3 prototypes/);
    assert.throws(
      () => checkMemoryBank(bank, 3, { neighbourCount: 1, searchRadius: 0 }),
      /cell \(0, 2\) covers 0/,
    );
    const prototypes = bank.prototypes.map((value) => value * 1.001);
    assert.throws(() => checkMemoryBank({ ...bank, prototypes }, 3, all), /row 0 has length/);
  });
});
