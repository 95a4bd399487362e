import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { geometryOf } from '../../../../src/geometry/geometry.js';
import { defaultPixelFormat } from '../../../../src/imaging/pixel-format/pixel-format.js';
import { WorkingImage } from '../../../../src/imaging/working-image/working-image.js';
import { imagePValue, minFalsePositiveRate, thresholdFor } from '../../../../src/scoring/calibration.js';
import type { FitImage } from '../../../../src/training/encoders/preset.js';
import { greyAndSharpness, refineThresholds } from '../../../../src/training/fit/strata.js';
import { createRandom } from '../../../../src/util/random.js';

const SIDE = 56;
const input = {
  workingSize: SIDE,
  fit: 'stretch',
  intensity: { kind: 'window' },
  orientation: 'upright',
} as const;
const geometry = geometryOf(input, {
  coreSize: SIDE,
  haloSize: 0,
  patchesPerSide: 1,
  patchStride: SIDE,
  patchSize: SIDE,
  patchOffset: 0,
  minStd: 0,
});

/** A disc on a ramp; `grey` is added to its brightness, `scale` multiplies its radius. */
function imageOf(index: number, grey: number, scale: number): FitImage {
  const random = createRandom(index);
  const pixels = Uint8Array.from({ length: SIDE * SIDE }, (_, at) => {
    const y = Math.floor(at / SIDE) - SIDE / 2;
    const x = (at % SIDE) - SIDE / 2;
    const disc = Math.hypot(y, x) < 14 * scale ? 90 : 0;
    return Math.min(255, 20 + grey + disc + at / SIDE + 4 * random());
  });
  const image = new WorkingImage(geometry, input, defaultPixelFormat(SIDE, SIDE, 8, 8), 0, 'rows');
  image.pushRows(pixels);
  image.complete();
  return { id: String(index), patient: String(index), image };
}

const EMPTY = { patchMedian: [0], patchMad: [1], patchZQuantiles: [0, 1], imageScores: [0] };
const COUNT = 120;
const images = Array.from({ length: COUNT }, (_, index) =>
  imageOf(index, (7 * index) % 60, 1 + ((11 * index) % 40) / 100),
);
const scoresBy = (scoreOf: (image: FitImage, index: number) => number) => images.map(scoreOf);

const scored = (of: readonly FitImage[], scores: readonly number[], views?: readonly string[]) =>
  of.map(({ image }, index) => ({ image, score: scores[index]!, view: views?.[index] }));

describe('thresholds', () => {
  it('leave out the highest scores where a share of the normals is assumed to be abnormal', () => {
    const scores = scoresBy((_, index) => index);
    scores[3] = Number.NaN;
    const { imageScores, strata } = refineThresholds(EMPTY, scored(images, scores), {
      contamination: 0.1,
      strata: false,
    });
    assert.equal(strata, undefined);
    assert.equal(imageScores.length, 119 - 11);
    assert.deepEqual([imageScores[0], imageScores.at(-1)], [0, 108]);
  });

  it('hold in the fifth that scores highest, by brightness or by field of view', () => {
    const brightness = ({ image }: FitImage) => greyAndSharpness(image.pixels, SIDE).meanGrey;
    const scale = (_: FitImage, index: number) => (11 * index) % 40;
    for (const [of, name] of [
      [brightness, 'brightness, 5 of 5'],
      [scale, ''],
    ] as const) {
      const plain = { contamination: 0, strata: false };
      const scores = scoresBy(of);
      const before = refineThresholds(EMPTY, scored(images, scores), plain);
      const after = refineThresholds(EMPTY, scored(images, scores), { ...plain, strata: true });
      assert.equal(after.strata?.length, 15);
      const highest = [...after.strata!].sort((a, b) => b.imageScores[0]! - a.imageScores[0]!)[0]!;
      if (name !== '') assert.equal(highest.name, name);
      assert.match(highest.name, /brightness|field of view/);
      const threshold = thresholdFor(after, 0.3);
      assert.ok(threshold > thresholdFor(before, 0.3));
      for (const { imageScores } of after.strata!) {
        assert.ok(imageScores.filter((score) => score > threshold).length <= 0.3 * imageScores.length);
      }
      const score = before.imageScores[80]!;
      assert.ok(imagePValue(after, score) > imagePValue(before, score));
      assert.equal(minFalsePositiveRate(after), 1 / 25);
    }
  });

  it('hold in each of two views', () => {
    const views = images.map((_, index) => (index % 3 === 0 ? 'AP' : 'PA'));
    const scores = scoresBy((_, index) => index + (index % 3 === 0 ? 1000 : 0));
    const all = scored(images, scores, views);
    const { strata } = refineThresholds(EMPTY, all, { contamination: 0, strata: true });
    assert.equal(strata?.length, 17);
    const [ap, pa] = strata!.slice(-2);
    assert.deepEqual([ap!.name, pa!.name], ['view AP', 'view PA']);
    assert.deepEqual([ap!.imageScores.length, pa!.imageScores.length], [40, 80]);
    assert.ok(ap!.imageScores[0]! >= 1000 && pa!.imageScores.at(-1)! < 1000);
  });

  it('have no strata where these would be too small', () => {
    const few = images.slice(0, 90);
    const scores = few.map((_, index) => index);
    assert.equal(
      refineThresholds(EMPTY, scored(few, scores), { contamination: 0, strata: true }).strata,
      undefined,
    );
  });
});
