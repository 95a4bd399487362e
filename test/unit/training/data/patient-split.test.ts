import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import type { DatasetImage } from '../../../../src/training/data/dataset.js';
import { splitByPatient } from '../../../../src/training/data/patient-split.js';

function imageOf(patient: string, index: number): DatasetImage {
  const id = `${patient}-${index}`;
  return {
    ...{ id, path: '', label: 'normal', patient },
    ...{ sha256: id, pixelHash: id, rows: 1, columns: 1, bytes: 1 },
  };
}

const singles = (count: number): DatasetImage[] =>
  Array.from({ length: count }, (_, index) => imageOf(`p${index}`, 0));

describe('split by patient', () => {
  it('keeps every patient on one side, and no side is empty', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 3, maxLength: 40 }),
        fc.nat(1000),
        (sizes, seed) => {
          const images = sizes.flatMap((size, patient) =>
            Array.from({ length: size }, (_, index) => imageOf(`p${patient}`, index)),
          );
          const { fit, calibrationA, calibrationB } = splitByPatient(images, seed);
          const sides = [fit, calibrationA, calibrationB].map((side) => new Set(side.map((i) => i.patient)));
          assert.equal(fit.length + calibrationA.length + calibrationB.length, images.length);
          assert.equal(new Set(sides.flatMap((side) => [...side])).size, sizes.length);
          assert.equal(
            sides.reduce((sum, side) => sum + side.size, 0),
            sizes.length,
          );
          assert.ok(sides.every((side) => side.size > 0));
        },
      ),
    );
  });

  for (const [count, sizes] of [
    [3, [1, 1, 1]],
    [20, [16, 2, 2]],
    [24, [19, 2, 3]],
    [25, [20, 2, 3]],
    [40, [32, 4, 4]],
    [1000, [800, 100, 100]],
  ] as const) {
    it(`holds out a fifth of ${count} images, half for patch scores and half for image scores`, () => {
      const { fit, calibrationA, calibrationB } = splitByPatient(singles(count), 4);
      assert.deepEqual([fit.length, calibrationA.length, calibrationB.length], sizes);
    });
  }

  it('depends on the seed and not on the order of the images', () => {
    const images = singles(50);
    assert.deepEqual(splitByPatient(images, 5), splitByPatient([...images].reverse(), 5));
    assert.notDeepEqual(splitByPatient(images, 5), splitByPatient(images, 6));
  });

  it('refuses fewer than three patients', () => {
    assert.throws(() => splitByPatient(singles(2), 1), /2 patients are too few/);
  });
});
