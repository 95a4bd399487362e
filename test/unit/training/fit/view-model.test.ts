import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { secondViewProbability } from '../../../../src/scoring/patch-z.js';
import { crossFittedViews, fitViewModel, twoViews } from '../../../../src/training/fit/view-model.js';
import { createRandom } from '../../../../src/util/random.js';

describe('the view model', () => {
  const random = createRandom(5);
  const COUNT = 200;
  const isSecond = Array.from({ length: COUNT }, (_, index) => index % 5 === 0);
  /** Axis 0 tells the views apart, with an overlap; axis 1 is noise, axis 2 a constant. */
  const means = isSecond.map((second) => Float64Array.of((second ? 1 : 0) + 1.2 * random(), random(), 7));

  it('distinguishes two views, each with the same weight', () => {
    const model = fitViewModel(means, isSecond, ['PA', 'AP']);
    assert.deepEqual(model.names, ['PA', 'AP']);
    const right = (second: boolean): number => {
      const of = means.filter((_, index) => isSecond[index] === second);
      return of.filter((mean) => secondViewProbability(model, mean) >= 0.5 === second).length / of.length;
    };
    assert.ok(right(false) > 0.85 && right(true) > 0.85, `${right(false)} ${right(true)}`);
    // Half-way between the views the probability is near one half.
    assert.ok(Math.abs(secondViewProbability(model, [1.1, 0.5, 7]) - 0.5) < 0.2);
  });

  it('predicts every image by a model without its fold', () => {
    const folds = means.map((_, index) => index % 3);
    const predicted = crossFittedViews(means, isSecond, folds);
    const others = means.flatMap((_, index) => (folds[index] === 1 ? [] : [index]));
    const model = fitViewModel(
      others.map((index) => means[index]!),
      others.map((index) => isSecond[index]!),
      ['', ''],
    );
    assert.equal(predicted[1], secondViewProbability(model, means[1]!));
  });

  it('needs two views with at least 50 images each', () => {
    const images = (pa: number, ap: number, other = 0) => [
      ...Array.from({ length: ap }, () => ({ view: 'AP' })),
      ...Array.from({ length: pa }, () => ({ view: 'PA' })),
      ...Array.from({ length: other }, () => ({})),
    ];
    assert.deepEqual(twoViews(images(60, 50)), ['PA', 'AP']);
    assert.equal(twoViews(images(60, 49)), undefined);
    assert.equal(twoViews(images(60, 50, 1)), undefined);
    assert.equal(twoViews(images(60, 0)), undefined);
  });
});
