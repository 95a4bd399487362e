import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { modelCard } from '../../../../src/training/fit/model-card.js';
import { smallDraft } from '../../../reference/small-model.js';

function cardOf(strata: { name: string; imageScores: number[] }[] | undefined): string {
  const { manifest } = smallDraft(1);
  const imageScores = Array.from({ length: 99 }, (_, i) => i);
  return modelCard({
    manifest: {
      ...manifest,
      calibration: { ...manifest.calibration, imageScores, ...(strata && { strata }) },
    },
    bankSize: { rows: 10, dimension: 8 },
    calibrationImages: { a: 0, b: 0 },
    duplicateCount: 0,
    hasPatientTable: true,
    bank: { candidates: 10, duplicates: 0, outliers: 0 },
    limits: ['a limit'],
  });
}

describe('model card', () => {
  it('states the lowest false-positive rate of the calibration', () => {
    assert.match(cardOf(undefined), /lowest false-positive rate they can guarantee is 1\.0 %/);
  });

  it('states the rate of the smallest stratum where there are strata', () => {
    const stratum = { name: 'brightness, 1 of 5', imageScores: Array.from({ length: 19 }, (_, i) => i) };
    assert.match(cardOf([stratum]), /lowest false-positive rate they can guarantee is 5\.0 %/);
  });
});
