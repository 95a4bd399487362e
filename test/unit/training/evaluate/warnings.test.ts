import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { ClassFigures, NormalFigures } from '../../../../src/training/evaluate/figures.js';
import { evaluationWarnings } from '../../../../src/training/evaluate/warnings.js';

const NORMAL: NormalFigures = {
  count: 100,
  patients: 100,
  falsePositiveRate: { '0.05': 0.04, '0.10': 0.09 },
  falsePositiveRateCi95: { '0.05': [0.016, 0.098], '0.10': [0.048, 0.162] },
};
const MASS: ClassFigures = {
  ...{ count: 50, patients: 40, auroc: 0.9, aurocCi95: [0.8, 0.95], averagePrecision: 0.8, fprAt95Tpr: 0.4 },
  sensitivity: { '0.05': 0.5, '0.10': 0.6 },
  floors: { meanGrey: 0.6, blurWhole: 0.5, blurCentre: 0.5, fileSize: 0.7 },
  ...{ shortcutAuroc: { meanGrey: 0.6, sharpness: 0.5 }, localAuroc: 0.8, localAurocCi95: [0.7, 0.9] },
  localisation: { boxImages: 50, pointing: 0.3, pointingByFixedPlace: 0.25 },
};
const warningsOf = (changes: Partial<ClassFigures>, normal = NORMAL) =>
  evaluationWarnings(normal, { mass: { ...MASS, ...changes } }, null);

describe('warnings of an evaluation', () => {
  it('are none where the model beats what does not look at disease, and keeps its rates', () => {
    assert.deepEqual(warningsOf({}), []);
    assert.deepEqual(warningsOf({ localisation: {} }), []);
  });

  it('name a number that separates as well as the model', () => {
    assert.deepEqual(warningsOf({ floors: { ...MASS.floors, fileSize: 0.9 } }), [
      'class mass: the size of the file alone reaches an AUROC of 0.900, the model 0.900',
    ]);
  });

  it('say that a fixed place points better than the top patch', () => {
    assert.deepEqual(warningsOf({ localisation: { ...MASS.localisation, pointingByFixedPlace: 0.352 } }), [
      'class mass: one place, the same in all images, lies in a box for 35.2 % of them, the centre of the top patch for 30.0 %',
    ]);
  });

  it('name a rate whose interval lies above what is promised', () => {
    const normal = { ...NORMAL, falsePositiveRate: { '0.05': 0.2, '0.10': 0.2 } };
    const intervals: NormalFigures['falsePositiveRateCi95'] = { '0.05': [0.13, 0.29], '0.10': [0.09, 0.29] };
    const [warning, ...more] = warningsOf({}, { ...normal, falsePositiveRateCi95: intervals });
    assert.match(
      warning!,
      /^the false-positive rate is above the nominal 5.0 %: 20.0 % of 100 normal images/,
    );
    assert.deepEqual(more, []);
  });

  it('name classes of too few patients', () => {
    assert.deepEqual(warningsOf({ count: 12, patients: 9 }), [
      'class mass: 12 images of 9 patients, too few for reliable figures',
    ]);
  });
});
