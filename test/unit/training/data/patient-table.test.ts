import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, it } from 'mocha';
import { SaladError } from '../../../../src/errors/index.js';
import { matchPatients } from '../../../../src/training/data/patient-matching.js';
import { findPatientTable, namedPatientTable } from '../../../../src/training/data/patient-table.js';

const root = mkdtempSync(join(tmpdir(), 'salad-patients-'));
let folders = 0;

function write(folder: string, name: string, content: string | Uint8Array): string {
  const file = join(folder, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

/** Makes a folder that contains a table. */
function folderWith(content: string | Uint8Array, name = 'patients.tsv'): string {
  folders += 1;
  const folder = join(root, String(folders));
  write(folder, name, content);
  return folder;
}

function match(folder: string, images: readonly string[], data = folder) {
  const { table } = findPatientTable(data);
  assert.ok(table, 'no table was found');
  const found = images.map((path) => ({ parts: path.split('/'), path: join(data, path), bytes: 1 }));
  return matchPatients(table, data, found);
}

function refuses(action: () => unknown, ...patterns: readonly RegExp[]): void {
  assert.throws(action, (error) => {
    assert.ok(error instanceof SaladError && error.reason === 'TRAINING_DATA_INVALID', String(error));
    for (const pattern of patterns) assert.match(error.message, pattern);
    return true;
  });
}

const IMAGES = ['normal/a.png', 'normal/b.png'];
const table = (a: string, b: string, separator = '\t', end = '\n'): string =>
  [`path${separator}patient`, `${a}${separator}p1`, `${b}${separator}p2`, ''].join(end);

describe('table of patients', () => {
  after(() => rmSync(root, { recursive: true }));

  for (const [how, a, b, way] of [
    ['the path', 'normal/a.png', 'normal/b.png', 'exactly'],
    ['a path with ./', './normal/a.png', './normal/b.png', 'exactly'],
    ['an absolute path from another machine', '/mnt/x/normal/a.png', '/mnt/x/normal/b.png', 'exactly'],
    ['a path in another case', 'NORMAL/A.PNG', 'Normal/b.Png', 'ignoringCaseAndSeparators'],
    ['a path with backslashes', 'normal\\a.png', 'C:\\data\\normal\\b.png', 'ignoringCaseAndSeparators'],
    ['a path in single quotes', "'normal/a.png'", "'normal/b.png'", 'ignoringCaseAndSeparators'],
    ['a path without extension', 'normal/a', 'normal/b', 'ignoringTheExtension'],
    ['a path with the extension of a DICOM file', 'normal/a.dcm', 'normal/b.DCM', 'ignoringTheExtension'],
    ['the file name alone', 'a.png', 'b.png', 'byFileNameAlone'],
    ['the file name in another folder', 'scans/a.png', 'scans/b.png', 'byFileNameAlone'],
  ] as const) {
    it(`matches an image by ${how}`, () => {
      const { patients, matched } = match(folderWith(table(a, b)), IMAGES);
      assert.deepEqual(patients, ['p1', 'p2']);
      assert.deepEqual(matched, { [way]: 2 });
    });
  }

  for (const [how, content] of [
    ['commas', table(IMAGES[0]!, IMAGES[1]!, ',')],
    ['semicolons and Windows line ends', table(IMAGES[0]!, IMAGES[1]!, ';', '\r\n')],
    ['line ends of classic Mac OS', table(IMAGES[0]!, IMAGES[1]!, '\t', '\r')],
    ['quoted cells', 'patient,"path"\np1,"normal/a.png"\n"p2","normal/b.png"\n'],
    ['a byte-order mark', `\ufeff${table(IMAGES[0]!, IMAGES[1]!)}`],
    ['UTF-16 with a byte-order mark', Buffer.from(`\ufeff${table(IMAGES[0]!, IMAGES[1]!)}`, 'utf16le')],
    ['UTF-16 without a byte-order mark', Buffer.from(table(IMAGES[0]!, IMAGES[1]!), 'utf16le')],
    ['big-endian UTF-16', Buffer.from(`\ufeff${table(IMAGES[0]!, IMAGES[1]!)}`, 'utf16le').swap16()],
    [
      'a column that may be a path, next to the column path',
      'image\tpath\tpatient\n1\tnormal/a.png\tp1\n2\tnormal/b.png\tp2\n',
    ],
    ['other columns around', 'n|Image Index|Age|Patient ID\n1|normal/a.png|40|p1\n2|normal/b.png|50|p2\n'],
  ] as const) {
    it(`is read with ${how}`, () => {
      assert.deepEqual(match(folderWith(content), IMAGES).patients, ['p1', 'p2']);
    });
  }

  it('is found up to two folders above, with paths relative to its folder', () => {
    const folder = folderWith(table('train/normal/a.png', 'train/normal/b.png'), 'manifest.tsv');
    const data = join(folder, 'train');
    mkdirSync(data);
    assert.deepEqual(match(folder, IMAGES, data).patients, ['p1', 'p2']);
  });

  it('is ignored as manifest.tsv without the columns, and refused as patients.tsv', () => {
    const folder = folderWith('path\tlabel\nnormal/a.png\tnormal\n', 'manifest.tsv');
    const { table: found, passedOver } = findPatientTable(folder);
    assert.deepEqual([found, passedOver], [null, [join(folder, 'manifest.tsv')]]);
    const wrong = folderWith('bild\tperson\nnormal/a.png\tp1\n');
    refuses(
      () => findPatientTable(wrong),
      /columns path \(or file\) and patient/,
      /bild\tperson/,
      /--patients none/,
    );
    refuses(() => namedPatientTable(join(folder, 'manifest.tsv')), /no table of patients/);
    write(wrong, 'patients.csv', 'path,patient\n');
    refuses(() => findPatientTable(wrong), /patients\.csv and .*patients\.tsv/);
  });

  it('is found by a name in any case, and refused in a format that cannot be read', () => {
    assert.deepEqual(match(folderWith(table(IMAGES[0]!, IMAGES[1]!, ','), 'Patients.CSV'), IMAGES).patients, [
      'p1',
      'p2',
    ]);
    refuses(() => findPatientTable(folderWith('PK', 'patients.xlsx')), /save it as patients\.csv/);
  });

  it('is refused where it lacks images; the error names the first of them', () => {
    const images = Array.from({ length: 8 }, (_, index) => `normal/${index}.png`);
    const half = folderWith(
      `path\tpatient\n${images
        .slice(0, 2)
        .map((path) => `${path}\tp\n`)
        .join('')}`,
    );
    refuses(
      () => match(half, images),
      /patient of 6 of 8 images: normal\/2\.png \(not in it\), .*normal\/6\.png \(not in it\) and 1 more/,
      /first of its 2 rows names "normal\/0\.png"/,
    );
    refuses(() => match(folderWith('path\tpatient\nx.png\tp\n'), images), /patient of 8 of 8 images/);
    refuses(
      () => match(folderWith('path\tpatient\nnormal/0.png\t\n'), images.slice(0, 1)),
      /its patient is empty/,
    );
  });

  it('is refused where a row matches two images, or rows of two patients match one image', () => {
    const sameNames = ['normal/1.png', 'effusion/1.png'];
    refuses(() => match(folderWith('path\tpatient\n1.png\tp1\n'), sameNames), /patient of 2 of 2/);
    const paths = folderWith('path\tpatient\nnormal/1.png\tp1\neffusion/1.png\tp2\n');
    assert.deepEqual(match(paths, sameNames).patients, ['p1', 'p2']);
    refuses(
      () => match(folderWith('path\tpatient\nnormal/1.png\tp1\nnormal/1.png\tp2\n'), ['normal/1.png']),
      /names the patients p1, p2/,
    );
    const folder = folderWith('path\tpatient\nsiteB/1.png\tp2\n');
    write(folder, 'siteB/1.png', 'of another patient');
    refuses(() => match(folder, ['1.png'], join(folder, 'siteA')), /1\.png \(not in it\)/);
  });

  it('distinguishes images whose names differ only in case or extension', () => {
    const images = ['a.png', 'A.png', 'a.jpg'];
    const folder = folderWith('path\tpatient\na.jpg\tp3\nA.png\tp2\na.png\tp1\n');
    assert.deepEqual(match(folder, images).patients, ['p1', 'p2', 'p3']);
  });

  it('is refused without waiting where it is a FIFO', function () {
    if (process.platform === 'win32') this.skip();
    const folder = folderWith('', 'other.txt');
    execFileSync('mkfifo', [join(folder, 'patients.tsv')]);
    refuses(() => findPatientTable(folder), /not a regular file/);
  });

  it('is refused where it is not text or has a quote without an end', () => {
    refuses(
      () => findPatientTable(folderWith(Buffer.from([0x70, 0xe4, 0x09, 0x0a]))),
      /neither UTF-8 nor UTF-16/,
    );
    refuses(
      () => findPatientTable(folderWith('path,patient\n"a.png,p1\n')),
      /quote without an end in line 2/,
    );
  });
});
