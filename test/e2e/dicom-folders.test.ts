import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'mocha';
import { dicomFile, testCells } from '../../bench/support/dicom-file.js';
import { makePhantom } from '../../src/phantom/phantom.js';
import { type DatasetImage, knowsPatients, loadDataset } from '../../src/training/data/dataset.js';
import { png, writeFiles } from '../support/images/image-folders.js';
import { runSalad } from '../support/programs/in-process-salad.js';

const SIZE = 128;
const SECRET = 'ZZTOPSECRET';
const root = mkdtempSync(join(tmpdir(), 'salad-dicom-data-'));
const models = join(root, 'models');

/** A phantom as a detector writes it: 12 bits, low values white, compressed, with the name of a patient. */
function phantomDicom(
  seed: number,
  patient: string,
  lesion: 'none' | 'effusion' = 'none',
): Promise<Uint8Array> {
  const { samples } = makePhantom({ seed, size: SIZE, lesion });
  return dicomFile({
    ...{
      rows: SIZE,
      columns: SIZE,
      cells: Uint16Array.from(samples, (value) => 4095 - value),
      bitsStored: 12,
    },
    ...{ syntax: 'jpegLsLossless', photometric: 'MONOCHROME1' },
    elements: {
      '00100010 PN': `${SECRET}^NAME`,
      '00100020 LO': `${SECRET}${patient}`,
      '00281050 DS': '2047.5',
      '00281051 DS': '4096',
    },
  });
}

const small = (patient: string, seed: number, frames = 1) =>
  dicomFile({
    ...{ rows: 8, columns: 8, frames, syntax: 'rle' },
    cells: Uint8Array.from(
      Array.from({ length: frames }, (_, i) => [...testCells(8, 8, 8, seed + i)]).flat(),
    ),
    elements: { '00100020 LO': patient },
  });

const ids = (images: readonly DatasetImage[]) => images.map(({ id }) => id);

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());
}

describe('data folders with DICOM files', function () {
  this.timeout(120_000);
  after(() => rmSync(root, { recursive: true }));

  it('contain one image per frame, with the patient that the file names', async () => {
    const folder = await writeFiles(join(root, 'a'), {
      'normal/1.dcm': await small('A', 1),
      'normal/2.dcm': await small('B', 2),
      'normal/IM3': await small('A', 3),
      'normal/4.dcm': await small('C', 4, 3),
      'normal/DICOMDIR': await small('A', 5),
    });
    const dataset = await loadDataset(folder);
    const { images, report } = dataset;
    assert.deepEqual(ids(images), [
      ...['normal/1.dcm', 'normal/2.dcm', 'normal/4.dcm#1', 'normal/4.dcm#2', 'normal/4.dcm#3', 'normal/IM3'],
    ]);
    assert.deepEqual(
      images.map(({ frame }) => frame),
      [undefined, undefined, 1, 2, 3, undefined],
    );
    const [first, second, frame1, frame2, , third] = images.map(({ patient }) => patient);
    assert.equal(first, third);
    assert.equal(frame1, frame2);
    assert.equal(new Set([first, second, frame1]).size, 3);
    assert.ok(
      images.every((image) => /^dicom:[0-9a-f]{16}$/.test(image.patient) && !('patientKey' in image)),
    );
    assert.deepEqual([report.patients.byDicom, report.patients.count, knowsPatients(dataset)], [6, 3, true]);
    assert.equal(new Set(images.map(({ pixelHash }) => pixelHash)).size, 6);
  });

  it('take the patients from a table if there is one, and no patients with `none`', async () => {
    const files = { 'normal/1.dcm': await small('A', 1), 'normal/2.dcm': await small('A', 2) };
    const table = 'file\tpatient\nnormal/1.dcm\tp1\nnormal/2.dcm\tp2\n';
    const folder = await writeFiles(join(root, 'b'), { ...files, 'patients.tsv': table });
    assert.deepEqual(
      (await loadDataset(folder)).images.map(({ patient }) => patient),
      ['p1', 'p2'],
    );
    const none = await loadDataset(folder, { patients: 'none' });
    assert.deepEqual(
      none.images.map(({ patient }) => patient),
      ['image:normal/1.dcm', 'image:normal/2.dcm'],
    );
    assert.ok(!knowsPatients(none));
  });

  it('may contain PNG files too, each of which is its own patient', async () => {
    const folder = await writeFiles(join(root, 'c'), { 'a.png': await png(1), 'b.dcm': await small('A', 2) });
    const dataset = await loadDataset(folder);
    assert.deepEqual(
      dataset.images.map(({ patient }) => patient.slice(0, 6)),
      ['image:', 'dicom:'],
    );
    assert.ok(!knowsPatients(dataset));
  });

  it('report every file that cannot be decoded, with the reason', async () => {
    const whole = await small('A', 1);
    const folder = await writeFiles(join(root, 'd'), {
      'a.dcm': whole,
      'b.dcm': whole.subarray(0, whole.length - 9),
      'c.dcm': await dicomFile({ rows: 8, columns: 8, cells: testCells(8, 8, 8), photometric: 'RGB' }),
    });
    await assert.rejects(
      loadDataset(folder),
      /2 files of .*\n {2}b\.dcm: .*truncated.*\n {2}c\.dcm: .*not a grey image/,
    );
  });

  it('train, calibrate and evaluate a model with the scores of the server, without patient data in any output', async () => {
    const files: Record<string, Uint8Array> = {};
    for (let i = 0; i < 26; i++) files[`train/normal/${i}.dcm`] = await phantomDicom(4000 + i, `P${i % 20}`);
    for (let i = 0; i < 4; i++) files[`test/normal/${i}.dcm`] = await phantomDicom(4100 + i, `T${i}`);
    for (let i = 0; i < 3; i++)
      files[`test/effusion/${i}.dcm`] = await phantomDicom(4200 + i, `E${i}`, 'effusion');
    const data = await writeFiles(join(root, 'e'), files);
    const preset = ['--preset', 'gabor', '--working-size', String(SIZE), '--no-align', '--json'];
    const train = await runSalad('train', '--data', data, '--out', models, '--name', 'dicom', ...preset);
    assert.equal(train.code, 0, train.stderr);
    assert.match(train.stderr, /20 patients, as named in the DICOM files of 26 images/);

    const bundle = join(models, 'dicom/1');
    const [csv, report] = [join(root, 'scores.csv'), join(root, 'report.html')];
    const evaluate = await runSalad(
      ...['evaluate', '--model', bundle, '--data', data, '--scores', csv, '--report', report, '--json'],
    );
    assert.equal(evaluate.code, 0, evaluate.stderr);
    const score = await runSalad('score', '--model', bundle, join(data, 'test'), '--recursive', '--json');
    assert.equal(score.code, 0, score.stderr);
    const rows = readFileSync(csv, 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.split(','));
    assert.equal(rows.length, 7);
    for (const [file, , , imageScore] of rows) {
      const line = score.lines.find((each) => String(each['file']).endsWith(`/${file}`));
      assert.ok(Math.abs(Number(line?.['imageScore']) - Number(imageScore)) < 1e-4, file);
    }

    const outputs = [train, evaluate, score].flatMap(({ stdout, stderr }) => [stdout, stderr]);
    for (const path of [...filesBelow(models), csv, report]) outputs.push(readFileSync(path, 'latin1'));
    assert.ok(outputs.every((text) => !text.includes(SECRET)));
  });
});
