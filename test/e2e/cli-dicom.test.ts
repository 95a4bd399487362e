import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import sharp from 'sharp';
import { type DicomFileOptions, dicomFile, testCells } from '../../bench/support/dicom-file.js';
import type { RunningServer } from '../../src/server/server.js';
import { runSalad } from '../support/programs/in-process-salad.js';
import { type ModelsFolder, smallModels, startSmall } from '../support/servers/small-server.js';

const SIDE = 64;
const PLAIN = {
  ...{ rows: SIDE, columns: SIDE, cells: testCells(SIDE, SIDE, 12), bitsStored: 12 },
  elements: { '00281050 DS': '2000', '00281051 DS': '3000', '00200062 CS': 'R', '00185101 CS': 'PA' },
} as const;
const THREE_FRAMES = {
  ...PLAIN,
  cells: Uint16Array.from([0, 1, 2].flatMap((seed) => [...testCells(SIDE, SIDE, 12, seed)])),
  frames: 3,
};

describe('salad with DICOM files', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: RunningServer;
  let folder: string;
  const at = (...names: string[]) => join(folder, ...names);
  const score = (...args: string[]) =>
    runSalad('score', '--target', server.address, '--model', 'small', ...args);

  async function write(name: string, options: Partial<DicomFileOptions> = {}): Promise<string> {
    mkdirSync(join(at(name), '..'), { recursive: true });
    writeFileSync(at(name), await dicomFile({ ...PLAIN, ...options }));
    return at(name);
  }

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path);
  });
  after(async () => {
    await server.stop(0);
    await models.remove();
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'salad-dicom-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('score: every mode returns the same score, for any syntax', async () => {
    const scores = [];
    for (const syntax of [
      'explicit',
      'implicit',
      'deflated',
      'bigEndian',
      'rle',
      'jpeg2000Lossless',
    ] as const) {
      await write(`${syntax}.dcm`, { syntax });
    }
    for (const mode of [[], ['--mode', 'rows'], ['--send-dicom']]) {
      const { code, lines } = await score(folder, '--json', ...mode);
      assert.equal(code, 0);
      scores.push(...lines.map((line) => line['imageScore']));
    }
    assert.equal(scores.length, 18);
    assert.equal(new Set(scores).size, 1);
    const { lines } = await score(at('rle.dcm'), '--json', '--mode', 'tiles');
    assert.ok(Math.abs(Number(lines[0]?.['imageScore']) - Number(scores[0])) < 0.2);
  });

  it('score: 8 bits without a window score as a PNG of the same values', async () => {
    const cells = testCells(SIDE, SIDE, 8) as Uint8Array;
    await write('a.dcm', { cells, bitsStored: 8, elements: {} });
    const raw = { width: SIDE, height: SIDE, channels: 1 } as const;
    writeFileSync(at('a.png'), await sharp(cells, { raw }).png().toBuffer());
    const { lines } = await score(at('a.dcm'), at('a.png'), '--json');
    assert.equal(lines[0]?.['imageScore'], lines[1]?.['imageScore']);
  });

  it('score: names the frame, and the instance only with --identify', async () => {
    const file = await write('IM000001', { photometric: 'MONOCHROME1' });
    const { lines } = await score(file, '--json');
    assert.deepEqual(lines[0]?.['source'], { frame: 1, frames: 1, notes: [] });
    const csv = at('scores.csv');
    const named = await score(file, '--json', '--identify', '--csv', csv);
    assert.deepEqual(named.lines[0]?.['source'], {
      ...{ frame: 1, frames: 1, notes: [] },
      ...{ sopInstanceUid: '1.2.3.4.5', laterality: 'R', view: 'PA', orientation: null },
    });
    assert.match(readFileSync(csv, 'utf8'), /,1,1\.2\.3\.4\.5,R,PA\n$/);
  });

  it('score: --identify names the instance in the table and in the report, of failed files too', async () => {
    const file = await write('named.dcm', { photometric: 'MONOCHROME1' });
    const report = at('named.html');
    const plain = await score(file, '--report', report);
    assert.doesNotMatch(`${plain.stdout}${readFileSync(report, 'utf8')}`, /SOP Instance UID|1\.2\.3\.4\.5/);
    const { stdout } = await score(file, '--identify', '--report', report);
    const [header = '', row = ''] = stdout.split('\n');
    assert.match(header, /ms +SOP Instance UID +laterality +view +warnings$/);
    assert.match(row, / 1\.2\.3\.4\.5 +R +PA\b/);
    const html = readFileSync(report, 'utf8');
    assert.match(html, /<button type="button">SOP Instance UID<\/button>/);
    assert.match(html, /<td data-sort="1\.2\.3\.4\.5">1\.2\.3\.4\.5<\/td>/);
    assert.match(html, /SOP Instance UID 1\.2\.3\.4\.5 · laterality R · view PA<\/div>/);
    const encoded = [1, 2, 3].map(() => Uint8Array.from([1, 2, 3, 4]));
    const broken = await write('broken.dcm', { ...THREE_FRAMES, syntax: 'rle', encoded });
    const failed = await score(broken, '--identify', '--report', report);
    assert.match(failed.stdout, /failed +- +- +1\.2\.3\.4\.5 /);
    assert.match(readFileSync(report, 'utf8'), /<h2>Not scored.*SOP Instance UID 1\.2\.3\.4\.5/);
  });

  it('score: scores each frame on its own, with a map each, and groups them; a damaged frame does not affect the others', async () => {
    const file = await write('three.dcm', THREE_FRAMES);
    const { code, lines } = await score(file, '--json', '--anomaly-map', at('{name}.png'));
    assert.equal(code, 0);
    const frames = lines.filter(({ event }) => event === 'aggregate');
    assert.equal(new Set(frames.map((line) => line['imageScore'])).size, 3);
    const { group } = lines.at(-1) as { group: string };
    assert.deepEqual(
      frames.map((line) => line['acquisitionId']),
      [1, 2, 3].map((frame) => `${group}.${frame}`),
    );
    const highest = Math.max(...frames.map((line) => Number(line['imageScore'])));
    const { event, scored, failed, highest: found } = lines.at(-1) as Record<string, { imageScore: number }>;
    assert.deepEqual([event, scored, failed, found?.imageScore], ['group', 3, 0, highest]);
    assert.deepEqual(
      [1, 2, 3].map((frame) => existsSync(at(`three-${frame}.png`))),
      [true, true, true],
    );

    const encoded = [1, 2, 3].map(() => Uint8Array.from([1, 2, 3, 4]));
    await write('damaged.dcm', { ...THREE_FRAMES, syntax: 'rle', encoded });
    const damaged = await score(at('damaged.dcm'), file);
    assert.equal(damaged.code, 1);
    assert.match(damaged.stdout, /damaged\.dcm frame 2\/3 +- .*failed.*\n/);
    assert.match(damaged.stdout, /three\.dcm frame 3\/3 +\d/);
    assert.match(damaged.stdout, /6 images: .*3 failed/);
  });

  it('score: refuses a contradictory file unless --photometric decides', async () => {
    const elements = { ...PLAIN.elements, '20500020 CS': 'INVERSE' };
    const file = await write('a.dcm', { elements });
    const refused = await score(file, '--json');
    assert.equal(refused.code, 1);
    assert.equal(refused.lines[0]?.['reason'], 'DICOM_UNSUPPORTED');
    const right = await write('b.dcm', { photometric: 'MONOCHROME1' });
    for (const more of [[], ['--send-dicom']]) {
      const { lines } = await score(file, right, '--json', '--photometric', 'MONOCHROME1', ...more);
      assert.equal(lines[0]?.['imageScore'], lines[1]?.['imageScore']);
    }
  });

  it('score: prints notes on the file and warnings of the server in the table', async () => {
    const file = await write('a.dcm', { elements: {} });
    const { stdout } = await score(file);
    assert.match(stdout.replaceAll(/\s+/g, ' '), /neither window nor VOI LUT: percentiles 1 and 99/);
    const wrong = await score(file, '--send-dicom', '--mode', 'rows');
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /--send-dicom needs --mode image/);
  });

  it('dicom info: prints how a file would be scored', async () => {
    const elements = {
      ...PLAIN.elements,
      '00280030 DS': '0.2\\0.1',
      '00200020 CS': 'L\\F',
      '00080060 CS': 'DX',
    };
    const file = await write('a.dcm', { syntax: 'jpegLosslessSv1', photometric: 'MONOCHROME1', elements });
    const { code, lines, stdout } = await runSalad('dicom', 'info', file, '--json');
    assert.equal(code, 0);
    assert.equal(stdout.trim().split('\n').length, 1);
    assert.deepEqual(lines[0], {
      file,
      ...{ syntax: 'JPEG Lossless (Process 14, Selection Value 1)', syntaxUid: '1.2.840.10008.1.2.4.70' },
      ...{ modality: 'DX', photometric: 'MONOCHROME1', rows: 64, columns: 64, frames: 1 },
      ...{ bitsAllocated: 16, bitsStored: 12, isSigned: false },
      ...{ voi: 'window', window: { center: 2000, width: 3000, function: 'linear' }, lut: null },
      ...{ windows: 1, luts: 0, modalityLut: null, rescale: { slope: 1, intercept: 0 } },
      ...{ lowIsWhite: true, padding: null, spacingMm: [0.2, 0.1], aspectRatio: 2 },
      ...{ orientation: 'L\\F', laterality: 'R', view: 'PA', scorable: true, reasons: [], notes: [] },
    });
    const text = await runSalad('dicom', 'info', file, '--identify');
    assert.match(text.stdout, /a\.dcm: can be scored\n/);
    assert.match(text.stdout, /window +center 2000, width 3000, linear \(1 of 1\)\n/);
    assert.match(text.stdout, /SOP Instance UID +1\.2\.3\.4\.5/);
  });

  it('dicom info: prints look-up tables and padding', async () => {
    const table = { '00283002 US': [2, 5, 8], '00283006 US': [0, 255] };
    const elements = { '00283000 SQ': [table], '00283010 SQ': [table], '00280120 US': [7] };
    const file = await write('a.dcm', { elements });
    const { lines } = await runSalad('dicom', 'info', file, '--json');
    const { lut, modalityLut, padding, window } = lines[0] ?? {};
    const expected = { firstValue: 5, bitsPerEntry: 8, entries: 2 };
    assert.deepEqual([lut, modalityLut, padding, window], [expected, expected, { first: 7, last: 7 }, null]);
    const { stdout } = await runSalad('dicom', 'info', file);
    assert.match(stdout, /stored values +LUT of 2 entries from 5, 8 bits each\n +window +VOI LUT of 2/);
  });

  it('dicom info: prints why a file cannot be scored', async () => {
    const whole = await dicomFile({ ...PLAIN, syntax: 'rle' });
    const files: readonly [string, Uint8Array, RegExp][] = [
      ['cut', whole.subarray(0, whole.length / 2), /truncated/],
      ['colour', await dicomFile({ ...PLAIN, photometric: 'RGB' }), /not a grey image/],
      ['text', Buffer.from('a text that is long enough to be a file'), /not a DICOM file/],
      [
        'frame',
        await dicomFile({ ...THREE_FRAMES, syntax: 'rle', encoded: [whole, whole, whole] }),
        /frame 3: /,
      ],
    ];
    for (const [name, bytes, reason] of files) {
      writeFileSync(at(name), bytes);
      const { code, lines } = await runSalad('dicom', 'info', at(name), '--json');
      assert.equal(code, 1);
      assert.equal(lines[0]?.['scorable'], false);
      assert.match(String(lines[0]?.['reasons']), reason);
    }
    const { stdout } = await runSalad('dicom', 'info', at('text'));
    assert.match(
      stdout,
      /cannot be scored\n +transfer syntax +unknown\n +not scored +it is not a DICOM file/,
    );
    const missing = await runSalad('dicom', 'info', at('missing'), '--json');
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /missing: no such file/);
  });
});
