import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'mocha';
import { SaladError } from '../../../../src/errors/index.js';
import {
  dataHash,
  loadDataset,
  medianShorterSide,
  withoutDuplicates,
} from '../../../../src/training/data/dataset.js';
import { png, writeFiles } from '../../../support/images/image-folders.js';

const root = mkdtempSync(join(tmpdir(), 'salad-dataset-'));
let folders = 0;

function folderWith(files: Readonly<Record<string, number | string | Uint8Array>>): Promise<string> {
  folders += 1;
  return writeFiles(join(root, String(folders)), files);
}

function refusal(...patterns: readonly RegExp[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof SaladError && error.reason === 'TRAINING_DATA_INVALID', String(error));
    for (const pattern of patterns) assert.match(error.message, pattern);
    return true;
  };
}

describe('data folder', () => {
  after(() => rmSync(root, { recursive: true }));

  it('reads one folder per class, normal first, with facts of every image', async () => {
    const folder = await folderWith({
      'normal/b.png': 1,
      'normal/a.jpg': 2,
      'effusion/x.png': 3,
      'masks/x.png': 4,
    });
    const dataset = await loadDataset(folder);
    assert.deepEqual(dataset.labels, ['normal', 'effusion']);
    assert.deepEqual(
      dataset.images.map((image) => image.id),
      ['normal/a.jpg', 'normal/b.png', 'effusion/x.png'],
    );
    const [first, second] = dataset.images;
    assert.notEqual(first!.patient, second!.patient);
    assert.deepEqual([first!.rows, first!.columns, first!.bytes], [8, 8, (await png(2)).length]);
    assert.equal(medianShorterSide(dataset.images), 8);
    assert.match(first!.pixelHash, /^[0-9a-f]{16}$/);
  });

  it('reads images directly in the folder as normal', async () => {
    const dataset = await loadDataset(await folderWith({ 'a.png': 1, 'b.png': 2 }));
    assert.deepEqual(dataset.labels, ['normal']);
    assert.equal(dataset.images.length, 2);
  });

  it('leaves out hidden and system files and reports them', async () => {
    const { images, report } = await loadDataset(
      await folderWith({
        'normal/a.png': 1,
        'normal/._a.png': 'Mac OS X',
        'normal/.ipynb_checkpoints/a-checkpoint.png': 2,
        'normal/@eaDir/a.png': 3,
        'normal/Thumbs.db': 'x',
        '__MACOSX/normal/a.png': 4,
        '.cache/normal/b.png': 5,
      }),
    );
    assert.deepEqual(
      images.map(({ id }) => id),
      ['normal/a.png'],
    );
    assert.deepEqual(
      report.excluded.map(({ path, reason }) => [path, reason]),
      [
        '.cache',
        '__MACOSX',
        'normal/._a.png',
        'normal/.ipynb_checkpoints',
        'normal/@eaDir',
        'normal/Thumbs.db',
      ].map((path) => [path, 'hidden or system file']),
    );
  });

  it('reports files of other formats, and FIFOs, as left out', async function () {
    if (process.platform === 'win32') this.skip();
    const folder = await folderWith({ 'normal/a.png': 1, 'normal/b.bmp': 'BM', 'normal/c.tif': 'II*' });
    execFileSync('mkfifo', [join(folder, 'normal/pipe.png')]);
    const { images, report } = await loadDataset(folder);
    assert.equal(images.length, 1);
    assert.deepEqual(
      report.excluded.map(({ path, reason }) => `${path}: ${reason}`),
      [
        'normal/b.bmp: neither PNG nor JPEG by its extension, nor DICOM',
        'normal/c.tif: neither PNG nor JPEG by its extension, nor DICOM',
        'normal/pipe.png: not a regular file (FIFO, socket or device)',
      ],
    );
  });

  it('names every unreadable file that belongs to the data, with its reason', async function () {
    if (process.platform === 'win32') this.skip();
    const whole = await png(1, 40);
    const folder = await folderWith({
      'normal/a.png': whole,
      'normal/cut.png': whole.subarray(0, whole.length - 30),
      'normal/text.jpg': 'no picture',
      'normal/empty.png': '',
      'effusion/x.png': 'not this one: training does not read it',
    });
    symlinkSync('/nowhere/to/be/found.png', join(folder, 'normal/link.png'));
    await assert.rejects(
      loadDataset(folder, { purpose: 'train' }),
      refusal(
        /4 files/,
        /normal\/cut\.png: \S/,
        /normal\/text\.jpg: .*neither PNG nor JPEG nor DICOM/,
        /normal\/empty\.png/,
        /normal\/link\.png: it does not exist/,
        /^(?![\s\S]*(normal\/a\.png|effusion))/,
      ),
    );
    await assert.rejects(loadDataset(folder), refusal(/5 files/, /effusion\/x\.png/));
  });

  it('follows links to folders, but not back to a folder above', async function () {
    if (process.platform === 'win32') this.skip();
    const elsewhere = await folderWith({ 'a.png': 1, 'deep/b.png': 2 });
    const folder = await folderWith({ 'effusion/x.png': 3 });
    symlinkSync(elsewhere, join(folder, 'normal'));
    symlinkSync(elsewhere, join(elsewhere, 'deep/again'));
    const { images, report } = await loadDataset(folder);
    assert.deepEqual(
      images.map(({ id }) => id),
      ['normal/a.png', 'normal/deep/b.png', 'effusion/x.png'],
    );
    assert.deepEqual(
      report.excluded.map(({ path }) => path),
      ['normal/deep/again'],
    );
  });

  it('refuses a missing folder and a folder without normal images', async () => {
    await assert.rejects(loadDataset(join(root, 'absent')), refusal(/is not a folder/));
    await assert.rejects(loadDataset(await folderWith({ 'normal/readme.txt': 't' })), {
      reason: 'CONFIGURATION_INVALID',
      message: /no normal PNG/,
    });
  });

  it('removes duplicate pictures, and hashes files independently of their names', async () => {
    const dataset = await loadDataset(await folderWith({ 'a.png': 1, 'b.png': 1, 'c.png': 2 }));
    assert.deepEqual(
      withoutDuplicates(dataset.images).map((image) => image.id),
      ['a.png', 'c.png'],
    );
    const renamed = await loadDataset(await folderWith({ 'x.png': 2, 'y.png': 1, 'z.png': 1 }));
    assert.equal(dataHash(dataset.images), dataHash(renamed.images));
  });

  it('recognises a picture in a file with other bytes', async () => {
    const { default: sharp } = await import('sharp');
    const folder = await folderWith({ 'a.png': 1 });
    writeFileSync(
      join(folder, 'b.png'),
      await sharp(await png(1))
        .png({ compressionLevel: 0 })
        .toBuffer(),
    );
    const { images } = await loadDataset(folder);
    assert.notEqual(images[0]!.sha256, images[1]!.sha256);
    assert.equal(images[0]!.pixelHash, images[1]!.pixelHash);
    assert.equal(withoutDuplicates(images).length, 1);
  });

  it('stops when its signal aborts', async () => {
    const folder = await folderWith({ 'a.png': 1 });
    await assert.rejects(
      loadDataset(folder, { signal: AbortSignal.abort() }),
      (error) => error instanceof SaladError && error.reason === 'CANCELLED',
    );
  });
});
