import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  auroc,
  aurocInterval,
  averagePrecision,
  clusteredShareInterval,
  fprAtTpr,
  newcombeInterval,
  type PatientScore,
  rocPoints,
  wilsonInterval,
} from '../../../../src/training/evaluate/metrics.js';

/** Scores of different patients. */
const single = (values: readonly number[], prefix: string): PatientScore[] =>
  values.map((score, index) => ({ score, patient: `${prefix}${index}` }));
/** Every score `times` times, from the same patient. */
const repeated = (scored: readonly PatientScore[], times: number): PatientScore[] =>
  scored.flatMap((each) => new Array<PatientScore>(times).fill(each));

const scores = fc.array(fc.integer({ min: -20, max: 20 }), { minLength: 1, maxLength: 40 });

describe('metrics', () => {
  it('compute a known AUROC, with ties counting half', () => {
    // Pairs (normal, abnormal): 1<2, 1<4, 2=2, 2<4, 3>2, 3<4 -> 4.5 of 6.
    assert.equal(auroc([1, 2, 3], [2, 4]), 4.5 / 6);
    assert.equal(auroc([1, 2], [3, 4]), 1);
    assert.equal(auroc([5], [5]), 0.5);
  });

  it('compute the AUROC as counting all pairs does', () => {
    fc.assert(
      fc.property(scores, scores, (normal, abnormal) => {
        let wins = 0;
        for (const n of normal) for (const a of abnormal) wins += a > n ? 1 : a === n ? 0.5 : 0;
        assert.ok(Math.abs(auroc(normal, abnormal) - wins / (normal.length * abnormal.length)) < 1e-12);
      }),
    );
  });

  it('compute the complementary AUROC for exchanged groups', () => {
    fc.assert(
      fc.property(scores, scores, (normal, abnormal) => {
        assert.ok(Math.abs(auroc(normal, abnormal) + auroc(abnormal, normal) - 1) < 1e-12);
      }),
    );
  });

  it('compute the AUROC as the trapezoid area under the ROC points', () => {
    fc.assert(
      fc.property(scores, scores, (normal, abnormal) => {
        const points = rocPoints(normal, abnormal);
        let area = 0;
        for (let i = 1; i < points.length; i += 1) {
          const [a, b] = [points[i - 1]!, points[i]!];
          area +=
            ((b.falsePositiveRate - a.falsePositiveRate) * (a.truePositiveRate + b.truePositiveRate)) / 2;
        }
        assert.ok(Math.abs(area - auroc(normal, abnormal)) < 1e-12);
        assert.deepEqual([points[0]!.truePositiveRate, points.at(-1)!.falsePositiveRate], [0, 1]);
      }),
    );
  });

  it('compute a bootstrap interval that is repeatable, contains the estimate and narrows with more images', () => {
    const sample = (count: number, shift: number): number[] =>
      Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898) * 2 + shift);
    const normal = sample(60, 0);
    const abnormal = sample(60, 1.5);
    const interval = (a: readonly number[], b: readonly number[], seed = 3) =>
      aurocInterval(single(a, 'n'), single(b, 'a'), { resamples: 1000, seed });
    const [low, high] = interval(normal, abnormal);
    assert.deepEqual(interval(normal, abnormal), [low, high]);
    const estimate = auroc(normal, abnormal);
    assert.ok(low < estimate && estimate < high && high <= 1);
    const [lowMore, highMore] = interval(sample(600, 0), sample(600, 1.5), 0);
    assert.ok(highMore - lowMore < (high - low) / 2);
  });

  it('compute a bootstrap interval near the Hanley-McNeil one', () => {
    const normal = Array.from({ length: 100 }, (_, i) => i / 100);
    const abnormal = Array.from({ length: 100 }, (_, i) => i / 100 + 0.4);
    const a = auroc(normal, abnormal);
    const q1 = a / (2 - a);
    const q2 = (2 * a * a) / (1 + a);
    const error = Math.sqrt((a * (1 - a) + 99 * (q1 - a * a) + 99 * (q2 - a * a)) / 10000);
    const [low, high] = aurocInterval(single(normal, 'n'), single(abnormal, 'a'));
    assert.ok(Math.abs((high - low) / (2 * 1.96 * error) - 1) < 0.35);
    const [lowest, highest] = newcombeInterval(a, 100, 100);
    assert.ok(Math.abs((highest - lowest) / (2 * 1.96 * error) - 1) < 0.1 && lowest < a && a < highest);
  });

  it('resample patients: repeated images of a patient do not narrow the interval', () => {
    const sample = (shift: number): number[] =>
      Array.from({ length: 40 }, (_, i) => Math.sin(i * 12.9898) * 2 + shift);
    const [normal, abnormal] = [single(sample(0), 'n'), single(sample(1.5), 'a')];
    const once = aurocInterval(normal, abnormal, { seed: 5 });
    assert.deepEqual(aurocInterval(repeated(normal, 4), repeated(abnormal, 4), { seed: 5 }), once);
    const asImages = aurocInterval(
      single(
        repeated(normal, 4).map(({ score }) => score),
        'n',
      ),
      single(
        repeated(abnormal, 4).map(({ score }) => score),
        'a',
      ),
      { seed: 5 },
    );
    assert.ok(asImages[1] - asImages[0] < 0.6 * (once[1] - once[0]));
  });

  it('resample both groups of a patient together', () => {
    const scored = (shift: number, prefix: string): PatientScore[] =>
      Array.from({ length: 30 }, (_, i) => ({ score: (i % 10) + shift, patient: `${prefix}${i}` }));
    // Two images of a patient that always differ by the same amount vary less than independent groups.
    const paired = aurocInterval(scored(0, 'p'), scored(1, 'p'));
    const apart = aurocInterval(scored(0, 'n'), scored(1, 'a'));
    assert.ok(paired[1] - paired[0] < 0.5 * (apart[1] - apart[0]), `${paired} and ${apart}`);
  });

  it('compute wide intervals for few images, and not a single point for separated groups', () => {
    const normal = single([1, 2, 3, 4, 5, 6], 'n');
    const [low, high] = aurocInterval(normal, single([9], 'a'));
    assert.ok(low < 0.5 && high === 1, `${low}`);
    const [lowInside, highInside] = aurocInterval(normal, single([4.5], 'a'));
    assert.ok(lowInside < 0.3 && highInside > 0.9, `${lowInside} to ${highInside}`);
    const many = Array.from({ length: 50 }, (_, i) => i);
    const apart = aurocInterval(
      single(many, 'n'),
      single(
        many.map((value) => value + 100),
        'a',
      ),
    );
    assert.ok(apart[0] > 0.9 && apart[0] < 0.99 && apart[1] === 1, `${apart}`);
    assert.deepEqual(aurocInterval(single([5], 'n'), single([1], 'a'))[0], 0);
  });

  it('widen the interval of a share where images of one patient are correlated', () => {
    const images = Array.from({ length: 60 }, (_, i) => ({ patient: `p${i}`, flagged: i % 10 === 0 }));
    const plain = wilsonInterval(6, 60);
    const near = (a: readonly number[], b: readonly number[]) =>
      assert.ok(
        a.every((value, i) => Math.abs(value - b[i]!) < 1e-9),
        `${a} and ${b}`,
      );
    near(clusteredShareInterval(images), plain);
    near(clusteredShareInterval([...images, ...images]), plain);
    near(
      clusteredShareInterval(images.map(({ patient }) => ({ patient, flagged: false }))),
      wilsonInterval(0, 60),
    );
  });

  it('compute a known average precision', () => {
    // Descending: 4 (abnormal, precision 1), 3 (normal), 2 (one of each: 2 of 4 flagged are abnormal).
    assert.equal(averagePrecision([2, 3], [4, 2]), 0.5 * 1 + 0.5 * 0.5);
    assert.equal(averagePrecision([1], [1]), 0.5);
  });

  it('compute the false-positive rate at 95 % sensitivity', () => {
    const abnormal = Array.from({ length: 20 }, (_, i) => i + 10);
    // 19 of 20 abnormal images score 11 or more; one of four normals does too.
    assert.equal(fprAtTpr([1, 2, 3, 11], abnormal), 0.25);
    assert.equal(fprAtTpr([1, 2, 3, 10], abnormal), 0);
    assert.equal(fprAtTpr([1], [0]), 1);
  });

  it('compute the Wilson interval of the literature', () => {
    const [low, high] = wilsonInterval(5, 100);
    assert.ok(Math.abs(low - 0.02154) < 1e-4 && Math.abs(high - 0.11175) < 1e-4);
    assert.deepEqual(wilsonInterval(0, 10)[0], 0);
    assert.throws(() => wilsonInterval(1, 0), RangeError);
  });

  it('refuse empty groups and NaN', () => {
    assert.throws(() => auroc([], [1]), RangeError);
    assert.throws(() => auroc([Number.NaN], [1]), RangeError);
  });
});
