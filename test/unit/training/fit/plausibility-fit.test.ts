import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import { implausibility, plausibilityDistances } from '../../../../src/scoring/plausibility.js';
import { type FittedGate, fitPlausibility } from '../../../../src/training/fit/plausibility-fit.js';
import { principalComponents } from '../../../../src/training/fit/principal-components.js';
import { createRandom } from '../../../../src/util/random.js';

function gaussian(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

describe('principal components', () => {
  it('are the directions of largest variance', () => {
    const random = createRandom(2);
    const deviations = [9, 5, 3, 1, 1, 1, 1, 1];
    const rows = Array.from({ length: 400 }, () =>
      Float64Array.from(deviations, (deviation) => deviation * gaussian(random)),
    );
    const { vectors, variances } = principalComponents(rows, 3, 1);
    vectors.forEach((vector, k) => {
      assert.ok(Math.abs(vector[k]!) > 0.98, `${k}: ${vector[k]}`);
      assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-9);
      const mean = rows.reduce((sum, row) => {
        const along = row.reduce((total, value, axis) => total + value * vector[axis]!, 0);
        return sum + (along * along) / rows.length;
      }, 0);
      assert.ok(Math.abs(variances[k]! - mean) < 1e-6 * mean);
    });
    assert.ok(variances[0]! > variances[1]! && variances[1]! > variances[2]!);
  });
});

describe('the fitted plausibility gate', function () {
  this.timeout(60_000);
  const random = createRandom(11);
  const SIZE = 160;
  /** Twelve directions of large variance, small noise, and one number that tells the way round. */
  const normal = (side = 1): Float64Array =>
    Float64Array.from({ length: SIZE }, (_, axis) =>
      axis === SIZE - 1 ? 2 * side + 0.3 * gaussian(random) : (axis < 12 ? 3 : 0.5) * gaussian(random),
    );
  const features = Array.from({ length: 500 }, () => normal());
  let fitted: FittedGate;

  before(() => {
    const mirrored = features.slice(0, 200).map((row, index) => ({
      index,
      features: row.map((value, axis) => (axis === SIZE - 1 ? -value : value)),
    }));
    const folds = features.map((_, index) => index % 5);
    fitted = fitPlausibility({ features, folds, mirrored, regions: 2, seed: 1 });
  });

  const judge = (row: Float64Array) => {
    const { tensors, spec } = fitted.gate;
    return implausibility(spec, plausibilityDistances(tensors, spec, row));
  };

  it('accepts new normals and refuses others', () => {
    const others = Array.from({ length: 200 }, () => normal());
    const refused = others.filter((row) => judge(row) !== undefined).length;
    assert.ok(refused <= 4, `${refused} of 200`);
    const noisy = others.map((row) => row.map((value) => value + 1.5 * gaussian(random)));
    assert.ok(noisy.filter((row) => judge(row) === 'unlike').length >= 190);
    const scaled = others.map((row) => row.map((value, axis) => (axis === SIZE - 1 ? value : 2 * value)));
    assert.ok(scaled.filter((row) => judge(row) === 'unlike').length >= 190);
  });

  it('detects mirrored normals', () => {
    const mirrored = Array.from({ length: 200 }, () => normal(-1));
    assert.ok(mirrored.filter((row) => judge(row) !== undefined).length >= 198);
  });

  it('reports the share of rejected normals that were not in the fit', () => {
    assert.ok(fitted.flaggedShare <= 0.01, `${fitted.flaggedShare}`);
    assert.equal(fitted.mirroredShare, 1);
  });
});
