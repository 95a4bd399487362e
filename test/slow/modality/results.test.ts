/** All kinds of objects, read by other software: dciodvfy (dicom3tools), dcmpschk (DCMTK) and highdicom. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { dicomFile, type Elements, testCells } from '../../../bench/support/dicom-file.js';
import type { ObjectKind } from '../../../clients/modality/src/inbox/instance.js';
import { buildObject } from '../../../clients/modality/src/results/objects.js';
import type { FrameMap } from '../../../clients/modality/src/scoring/frame-map.js';
import type { FrameResult, InstanceResult } from '../../../clients/modality/src/scoring/score-instance.js';
import { parseFile } from '../../../src/dicom/data-set.js';
import { DicomDecoder } from '../../../src/dicom/decoder/dicom-decoder.js';
import { needs, runProgram } from '../../support/dicom/dicom-programs.js';
import { needsData, SHARED_DATA } from '../../support/images/shared-data.js';
import { root } from '../../support/root.js';

const here = join(root, 'test/slow/modality/highdicom');
const DATA = join(SHARED_DATA, 'dicom');
/** Without UIDs of study or instance, or without file meta information: such an instance becomes a dead letter. */
const WITHOUT_OBJECTS = ['cr-modality-lut-nowindow.dcm', 'cr-mono1-10-chest-nopreamble.dcm'];
const ROWS = 40;
const COLUMNS = 48;

function frameOf(frame: number): FrameResult {
  return {
    ...{ frame, model: 'phantom@1', modelHash: 'ab'.repeat(32), engines: ['onnx'], decision: 'anomalous' },
    ...{
      imageScore: 9.774038314819336,
      pValue: 1.2345678901e-7,
      threshold: 4.21,
      maxFalsePositiveRate: 0.05,
    },
    coverage: { scored: 9, skipped: 0, failed: 0 },
    topPatches: [{ score: 1, robustZ: 6.5, pValue: 0.002, box: { top: 4, left: 8, bottom: 20, right: 24 } }],
    warnings: [],
  };
}

/** A map of a quarter of the size, of which rows 1 to 2 and columns 3 to 5 lie above the threshold. */
function mapOf(frame: number, rows: number, columns: number): FrameMap {
  const shape = { rows: Math.ceil(rows / 4), columns: Math.ceil(columns / 4) };
  const above = new Float32Array(shape.rows * shape.columns).fill(Number.NaN);
  for (const row of [1, 2]) above.fill(6.5, row * shape.columns + 3, row * shape.columns + 6);
  const colour = { pValue: 0.01, red: 200, green: 60, blue: 20, opacity: 0.5 };
  const scale = [4.21, 5.71, 7.21].map((robustZ) => ({ robustZ, ...colour }));
  return { frame, ...shape, scale, above };
}

describe('objects of results', function () {
  this.timeout(600_000);
  let folder: string;
  let python: string;
  const decoder = new DicomDecoder({ processes: 1 });
  const { signal } = new AbortController();

  before(async function () {
    await needs(this, 'dciodvfy', 'dcmpschk');
    folder = mkdtempSync(join(tmpdir(), 'salad-results-'));
    const { pythonEnvironment } = await import(join(root, 'scripts/python-environment.mjs'));
    python = pythonEnvironment('highdicom', join(here, 'requirements.txt'));
  });
  after(async () => {
    await decoder.close();
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  async function source(frames: number, elements: Elements = {}): Promise<string> {
    const path = join(folder, 'source.dcm');
    // Multi-frame Grayscale Word Secondary Capture where there are several.
    const sopClass = frames === 1 ? '1.2.840.10008.5.1.4.1.1.1.1' : '1.2.840.10008.5.1.4.1.1.7.3';
    const own = {
      ...{ '00080016 UI': sopClass, '00080018 UI': '1.2.3', '0020000D UI': '1.2.5', '0020000E UI': '1.2.6' },
      ...{ '00080020 DA': '20261130', '00080030 TM': '010203', '00100010 PN': 'A^B', '00100020 LO': 'PAT-1' },
      ...{ '00200020 CS': 'L\\F', '00181164 DS': '0.139\\0.14' },
    };
    const cells = testCells(ROWS * frames, COLUMNS, 12);
    const image = { rows: ROWS, columns: COLUMNS, cells, bitsStored: 12, frames };
    writeFileSync(path, await dicomFile({ ...image, elements: { ...own, ...elements } }));
    return path;
  }

  /** Builds an object, and checks it. @returns its path */
  async function built(
    kind: ObjectKind,
    path: string,
    result: InstanceResult,
    maps: readonly FrameMap[],
  ): Promise<string> {
    const object = await buildObject(kind, { path, result, maps, decoder, signal });
    assert.ok(typeof object !== 'string', path);
    const file = join(folder, `${kind}-${basename(path)}`);
    writeFileSync(file, object.bytes);
    const { output } = await runProgram('dciodvfy', file);
    const errors = output.split('\n').filter((line) => line.startsWith('Error'));
    assert.deepEqual(errors, [], path);
    return file;
  }

  /** dcmpschk finds no error in the presentation state. */
  async function checkedState(file: string): Promise<void> {
    const { code, output } = await runProgram('dcmpschk', file);
    assert.equal(code, 0, output);
    assert.match(output, /Test passed\./, output);
    assert.doesNotMatch(output, /^E: |^F: |\b(warning|error|missing|failed)\b/im, output);
  }

  async function sizeOf(path: string): Promise<{ readonly rows: number; readonly columns: number }> {
    const file = await decoder.open(readFileSync(path), { maxPixels: 2 ** 27 });
    file.close();
    const { rows, columns } = file.description.facts;
    return { rows: rows!, columns: columns! };
  }

  function readBack(...files: readonly string[]): readonly Record<string, unknown>[] {
    const text = execFileSync(python, [join(here, 'read_back.py'), ...files], { encoding: 'utf8' });
    return text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  const resultOf = (...frames: readonly number[]): InstanceResult => ({
    ...{ scoredMs: 1.7e12, rows: ROWS, columns: COLUMNS },
    frames: frames.map(frameOf),
  });

  it('are read back by highdicom with the same values', async () => {
    const path = await source(1);
    const maps = [mapOf(1, ROWS, COLUMNS)];
    const [seg, report] = readBack(
      await built('segmentation', path, resultOf(1), maps),
      await built('report', path, resultOf(1), maps),
    );
    assert.deepEqual(seg, {
      segments: ['Differs from normal images'],
      algorithm: 'AUTOMATIC',
      frames: [],
      shape: [1, ROWS, COLUMNS],
      // Rows 1 to 2 and columns 3 to 5 of the map, in pixels of the image.
      set: [
        [4, 12],
        [11, 23],
      ],
      count: 8 * 12,
      spacing: [0.139, 0.14],
    });
    assert.deepEqual(report!['groups'], ['frame 1', 'frame 1 patch 1']);
    assert.deepEqual((report!['regions'] as number[][][])[1], [
      [8, 4],
      [24, 4],
      [24, 20],
      [8, 20],
      [8, 4],
    ]);
    const scores = (report!['scores'] as [string, number][]).map(([, value]) => value);
    assert.deepEqual(scores, [9.7740383, 1.2345679e-7, 4.21, 6.5]);
  });

  it('refer to the frames of their source in which something lies above the threshold', async () => {
    const path = await source(3);
    const file = await built(
      'segmentation',
      path,
      resultOf(1, 2, 3),
      [1, 3].map((n) => mapOf(n, ROWS, COLUMNS)),
    );
    const [seg] = readBack(file);
    assert.deepEqual(
      [seg!['frames'], seg!['shape'], seg!['count']],
      [[1, 3], [2, ROWS, COLUMNS], 2 * 8 * 12],
    );
  });

  it('show the picture with left and right as sent, the map over it, the note above and the bar below', async () => {
    const path = await source(1);
    const { root: capture } = parseFile(
      readFileSync(await built('secondaryCapture', path, resultOf(1), [mapOf(1, ROWS, COLUMNS)])),
      0,
    );
    const [rows, columns] = [capture.uint16('x00280010')!, capture.uint16('x00280011')!];
    assert.deepEqual([rows, columns, capture.texts('x00200020')], [13 + ROWS / 4 + 44, 256, ['L', 'F']]);
    const rgb = capture.valueOf('x7fe00010');
    const isColoured = (row: number, column: number) => {
      const [red, green, blue] = rgb.subarray(3 * ((13 + row) * columns + column));
      return red !== green || green !== blue;
    };
    for (let row = 0; row < ROWS / 4; row++) {
      for (let column = 0; column < COLUMNS / 4; column++) {
        const isAbove = row >= 1 && row <= 2 && column >= 3 && column <= 5;
        assert.equal(isColoured(row, column), isAbove, `row ${row}, column ${column}`);
      }
    }
    // The ramp of the image grows from left to right.
    assert.ok(rgb[3 * (13 * columns + 11)]! > rgb[3 * 13 * columns]!);
    const note = Array.from({ length: 13 }, (_, row) =>
      rgb.subarray(3 * row * columns, 3 * (row + 1) * columns),
    );
    assert.equal(note.filter((row) => row.some((value) => value > 200)).length, 7);
  });

  it('show the frames of an image with several, by their number', async () => {
    const path = await source(3);
    const maps = [1, 3].map((n) => mapOf(n, ROWS, COLUMNS));
    const file = await built('secondaryCapture', path, resultOf(1, 2, 3), maps);
    const { root: capture } = parseFile(readFileSync(file), 0);
    assert.deepEqual(capture.texts('x00182001'), ['1', '3']);
    await checkedState(await built('presentationState', path, resultOf(1, 2, 3), []));
  });

  it('draw the regions in pixels of the image, in the grey scale that the model got', async () => {
    const grey = { '00281050 DS': '2000', '00281051 DS': '3000', '00281052 DS': '-5', '00281053 DS': '2' };
    const file = await built('presentationState', await source(1, grey), resultOf(1), []);
    await checkedState(file);
    const { root: state } = parseFile(readFileSync(file), 0);
    const [voi] = state.items('x00283110');
    assert.deepEqual(
      [voi!.text('x00281050'), voi!.text('x00281051'), state.text('x00281052'), state.text('x00281053')],
      ['2000', '3000', '-5', '2'],
    );
    const [graphic] = state.items('x00700001')[0]!.items('x00700009');
    const data = Buffer.from(graphic!.valueOf('x00700022'));
    assert.deepEqual(
      Array.from({ length: 10 }, (_, index) => data.readFloatLE(4 * index)),
      [8, 4, 24, 4, 24, 20, 8, 20, 8, 4],
    );
  });

  it('are without errors for public files of many kinds', async function () {
    needsData(this, DATA);
    const files = readdirSync(DATA).filter(
      (name) => name.endsWith('.dcm') && !WITHOUT_OBJECTS.includes(name),
    );
    const maps = [mapOf(1, ROWS, COLUMNS)];
    const written: string[] = [];
    for (const name of files) written.push(await built('segmentation', join(DATA, name), resultOf(1), maps));
    for (const name of files) {
      const path = join(DATA, name);
      const { rows, columns } = await sizeOf(path);
      const result = { ...resultOf(1), rows, columns };
      await built('secondaryCapture', path, result, [mapOf(1, rows, columns)]);
      await checkedState(await built('presentationState', path, result, []));
    }
    for (const seg of readBack(...written)) assert.equal(seg['count'], 8 * 12);
    assert.ok(files.length > 20);
  });
});
