import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { after, describe, it } from 'mocha';
import { SaladError } from '../../../../src/errors/index.js';
import {
  type DatasetImage,
  dataHash,
  loadDataset,
  splitByPatient,
  withoutDuplicates,
} from '../../../../src/training/data/dataset.js';

const root = mkdtempSync(join(tmpdir(), 'salad-dataset-'));
let folders = 0;

/** Files as given (contents are not decoded by the data set). */
function folderWith(files: Readonly<Record<string, string>>): string {
  folders += 1;
  const folder = join(root, String(folders));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

function imageOf(patient: string, index: number): DatasetImage {
  return { id: `${patient}-${index}`, path: '', label: 'normal', patient, sha256: `${patient}${index}` };
}

describe('dataset', () => {
  after(() => rmSync(root, { recursive: true }));

  it('reads one folder per class, normal first, and leaves masks and other files out', async () => {
    const folder = folderWith({
      'normal/b.png': 'b',
      'normal/a.jpg': 'a',
      'effusion/x.png': 'x',
      'masks/x.png': 'm',
      'notes.txt': 't',
    });
    const dataset = await loadDataset(folder);
    assert.deepEqual(dataset.labels, ['normal', 'effusion']);
    assert.deepEqual(
      dataset.images.map((image) => image.id),
      ['normal/a.jpg', 'normal/b.png', 'effusion/x.png'],
    );
    assert.notEqual(dataset.images[0]!.patient, dataset.images[1]!.patient);
  });

  it('takes images directly in the folder as normal', async () => {
    const dataset = await loadDataset(folderWith({ 'a.png': 'a', 'b.png': 'b' }));
    assert.deepEqual(dataset.labels, ['normal']);
    assert.equal(dataset.images.length, 2);
  });

  it('finds patients in a manifest two folders up and in patients.tsv beside the images', async () => {
    const shared = folderWith({
      'manifest.tsv':
        'path\tlabel\tpatient\ntrain/normal/a.png\tnormal\tp1\ntrain/normal/b.png\tnormal\tp1\n',
      'train/normal/a.png': 'a',
      'train/normal/b.png': 'b',
    });
    const train = await loadDataset(join(shared, 'train'));
    assert.deepEqual(
      train.images.map((image) => image.patient),
      ['p1', 'p1'],
    );
    const own = await loadDataset(
      folderWith({ 'patients.tsv': 'file\tpatient\na.png\tq\n', 'normal/a.png': 'a' }),
    );
    assert.equal(own.images[0]!.patient, 'q');
  });

  it('refuses folders without normal images', async () => {
    const isInvalid = (error: unknown): boolean =>
      error instanceof SaladError && error.reason === 'TRAINING_DATA_INVALID';
    await assert.rejects(loadDataset(join(root, 'absent')), isInvalid);
    await assert.rejects(loadDataset(folderWith({ 'normal/readme.txt': 't' })), isInvalid);
  });

  it('drops exact copies, and hashes contents whatever the names', async () => {
    const dataset = await loadDataset(folderWith({ 'a.png': 'same', 'b.png': 'same', 'c.png': 'other' }));
    assert.deepEqual(
      withoutDuplicates(dataset.images).map((image) => image.id),
      ['a.png', 'c.png'],
    );
    const renamed = await loadDataset(folderWith({ 'x.png': 'other', 'y.png': 'same', 'z.png': 'same' }));
    assert.equal(dataHash(dataset.images), dataHash(renamed.images));
  });

  it('splits every data set so that no patient is on two sides and no side is empty', () => {
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

  it('gives the same split for the same seed in any order, and another for another seed', () => {
    const images = Array.from({ length: 50 }, (_, index) => imageOf(`p${index}`, 0));
    assert.deepEqual(splitByPatient(images, 5), splitByPatient([...images].reverse(), 5));
    assert.notDeepEqual(splitByPatient(images, 5), splitByPatient(images, 6));
    assert.equal(splitByPatient(images, 5).fit.length, 40);
  });
});
