import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SaladError } from '../../../../src/errors/index.js';
import type { DatasetImage } from '../../../../src/training/data/dataset.js';
import { splitByPatient } from '../../../../src/training/data/patient-split.js';
import { findPreset } from '../../../../src/training/fit/preset-registry.js';
import { checkImageCount, checkTrainingSize } from '../../../../src/training/fit/requirements.js';

const images = (count: number, perPatient = 1): DatasetImage[] =>
  Array.from({ length: count }, (_, index) => ({
    ...{ id: `${index}`, path: '', label: 'normal', patient: `p${Math.floor(index / perPatient)}` },
    ...{ sha256: '', pixelHash: `${index}`, rows: 1, columns: 1, bytes: 1 },
  }));
const whole = (fit: DatasetImage[]) => ({ fit, calibrationA: [], calibrationB: [] });

function refuses(action: () => unknown, pattern: RegExp): void {
  assert.throws(action, (error) => {
    assert.ok(error instanceof SaladError && error.reason === 'TRAINING_DATA_INVALID', String(error));
    assert.match(error.message, pattern);
    return true;
  });
}

describe('requirements of training', () => {
  it('are 20 different images, or --force', () => {
    refuses(() => checkImageCount(19, false), /19 different normal images are too few: at least 20/);
    refuses(() => checkImageCount(1, false), /1 different normal image is too few/);
    checkImageCount(19, true);
    checkImageCount(20, false);
  });

  it('include enough images for the number of nearest prototypes', () => {
    const paper = findPreset('paper').plan({});
    const size = { bankRows: paper.bankRows, seed: 1 };
    refuses(
      () => checkTrainingSize(splitByPatient(images(24), 1), paper, size),
      /19 of them fit and 100 are needed.* about 127 images/,
    );
    checkTrainingSize(splitByPatient(images(127), 1), paper, size);
    refuses(
      () => checkTrainingSize(splitByPatient(images(200), 1), paper, { ...size, bankRows: 50 }),
      /bank of 50 rows .*100 rows for each of 1 cells/,
    );
  });

  it('include enough images of other patients where calibration is cross-fitted', () => {
    const gabor = findPreset('gabor').plan({});
    const size = { bankRows: gabor.bankRows, seed: 1 };
    refuses(
      () => checkTrainingSize(whole(images(20, 20)), gabor, size),
      /of 1 patients .*must hold 2 images and has 0/,
    );
    refuses(() => checkTrainingSize(whole(images(2)), gabor, size), /has 1/);
    checkTrainingSize(whole(images(3)), gabor, size);
    checkTrainingSize(whole(images(20, 4)), gabor, size);
    refuses(
      () => checkTrainingSize(whole(images(20)), gabor, { ...size, bankRows: 71 }),
      /2 rows for each of 36 cells are needed, 72 in total/,
    );
    checkTrainingSize(whole(images(20)), gabor, { ...size, bankRows: 72 });
  });
});
