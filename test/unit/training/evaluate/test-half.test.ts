import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Dataset, DatasetImage } from '../../../../src/training/data/dataset.js';
import { halfOf } from '../../../../src/training/evaluate/test-half.js';

function dataset(patientTable: string | null, rename = ''): Dataset {
  const images = Array.from({ length: 900 }, (_, index): DatasetImage => {
    const id = `${rename}${index}`;
    const facts = { sha256: id, pixelHash: `pixels-${index}`, rows: 1, columns: 1, bytes: 1 };
    const patient = patientTable ? `p${Math.floor(index / 3)}` : `image:${id}`;
    return { ...facts, id, path: id, label: 'normal', patient };
  });
  return { images, patientTable, labels: ['normal'], directory: '' } as unknown as Dataset;
}

const indices = (data: Dataset): number[] =>
  data.images.map(({ pixelHash }) => Number(pixelHash.split('-')[1]));

describe('halves of a test set', () => {
  it('are a third and two thirds of the images, by patient', () => {
    const all = dataset('patients.tsv');
    const [choose, report] = [halfOf(all, 'choose'), halfOf(all, 'report')];
    assert.ok(Math.abs(choose.images.length - 300) < 60, `${choose.images.length}`);
    assert.equal(choose.images.length + report.images.length, 900);
    const chosen = new Set(choose.images.map(({ patient }) => patient));
    assert.ok(report.images.every(({ patient }) => !chosen.has(patient)));
    assert.equal(halfOf(all, 'all'), all);
  });

  it('never change', () => {
    // Another hash or seed would mix the images of choice with those of published results.
    const patients = halfOf(dataset('patients.tsv'), 'choose').images.map(({ patient }) => patient);
    assert.deepEqual([...new Set(patients)].slice(0, 8), ['p1', 'p2', 'p3', 'p4', 'p5', 'p7', 'p13', 'p14']);
  });

  it('use the pixel hash where there is no table of patients, so that renamed files stay in their half', () => {
    const before = indices(halfOf(dataset(null), 'choose'));
    assert.ok(before.length > 200);
    assert.deepEqual(indices(halfOf(dataset(null, 'renamed/'), 'choose')), before);
  });
});
