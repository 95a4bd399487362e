/** The structured report, read by other software: dciodvfy (dicom3tools) and dsrdump (DCMTK). */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { dicomFile, testCells } from '../../../bench/support/dicom-file.js';
import { buildReport } from '../../../clients/modality/src/results/report.js';
import { readSourceHeader } from '../../../clients/modality/src/results/source-header.js';
import type { FrameResult, InstanceResult } from '../../../clients/modality/src/scoring/score-instance.js';
import { needs, runProgram } from '../../support/dicom/dicom-programs.js';
import { needsData, SHARED_DATA } from '../../support/images/shared-data.js';

const DATA = join(SHARED_DATA, 'dicom');
/** Without UIDs of study or instance, or without file meta information: such an instance becomes a dead letter. */
const WITHOUT_REPORT = ['cr-modality-lut-nowindow.dcm', 'cr-mono1-10-chest-nopreamble.dcm'];

function frameOf(frame: number, decision: FrameResult['decision']): FrameResult {
  const box = { top: 4, left: 8, bottom: 20, right: 24 };
  return {
    ...{ frame, model: 'phantom@1', modelHash: 'ab'.repeat(32), engines: ['onnx', 'wasm'], decision },
    imageScore: decision === 'indeterminate' ? null : 9.774038314819336,
    pValue: decision === 'indeterminate' ? null : 1.2345678901e-7,
    ...{ threshold: 4.210140287893092, maxFalsePositiveRate: 0.05 },
    coverage: { scored: 9, skipped: 0, failed: 0 },
    topPatches: [1, 2, 3].map((robustZ) => ({ score: 1, robustZ, pValue: 0.002, box })),
    warnings: [{ kind: 'WARNING_KIND_INVERTED', message: 'inverted' }],
  };
}

describe('structured report', function () {
  this.timeout(120_000);
  let folder: string;

  before(async function () {
    await needs(this, 'dciodvfy', 'dsrdump');
    folder = mkdtempSync(join(tmpdir(), 'salad-report-'));
  });
  after(() => {
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  /** @returns what dsrdump prints, after both programs have found no error */
  async function checked(source: string, frames: readonly FrameResult[]): Promise<string> {
    const result: InstanceResult = { scoredMs: 1.7e12, rows: 40, columns: 48, frames };
    const path = join(folder, 'report.dcm');
    writeFileSync(path, buildReport(await readSourceHeader(source), result).bytes);
    const { output } = await runProgram('dciodvfy', path);
    const errors = output.split('\n').filter((line) => line.startsWith('Error'));
    assert.deepEqual(errors, [], source);
    // Without the options long values are cut, and only names of concepts are printed.
    const dump = await runProgram('dsrdump', '+Pl', '+Pc', path);
    assert.equal(dump.code, 0, dump.output);
    assert.match(dump.output, /Comprehensive SR Document/);
    return dump.output;
  }

  async function source(frames: number): Promise<string> {
    const path = join(folder, 'source.dcm');
    // Multi-frame Grayscale Word Secondary Capture where there are several.
    const sopClass = frames === 1 ? '1.2.840.10008.5.1.4.1.1.1.1' : '1.2.840.10008.5.1.4.1.1.7.3';
    const elements = {
      '00080016 UI': sopClass,
      '00080018 UI': '1.2.3',
      '00080020 DA': '20261130',
      '00080030 TM': '010203',
      '00100010 PN': 'A^B',
      '00100020 LO': 'PAT-1',
      '0020000D UI': '1.2.5',
      '0020000E UI': '1.2.6',
    };
    const cells = testCells(40 * frames, 48, 12);
    writeFileSync(path, await dicomFile({ rows: 40, columns: 48, cells, bitsStored: 12, frames, elements }));
    return path;
  }

  it('is without errors for every decision, and names regions only where the image differs', async () => {
    const path = await source(1);
    const regions = async (decision: FrameResult['decision']) => {
      const text = await checked(path, [frameOf(1, decision)]);
      assert.doesNotMatch(text, /diagnos(?!is\.)/);
      return [...text.matchAll(/SCOORD/g)].length;
    };
    // Of the frame and of three patches, each in the group and below its first number.
    assert.deepEqual(
      [await regions('anomalous'), await regions('normal'), await regions('indeterminate')],
      [8, 2, 2],
    );
  });

  it('is without errors for several frames', async () => {
    const text = await checked(
      await source(3),
      [1, 2, 3].map((frame) => frameOf(frame, 'anomalous')),
    );
    assert.match(text, /frame 3 patch 3/);
  });

  it('names the algorithm, its version, its bundle and how it was run, for the frame and each of its patches', async () => {
    const text = await checked(await source(1), [frameOf(1, 'anomalous')]);
    const values = (concept: string) =>
      [...text.matchAll(new RegExp(`<has concept mod TEXT:\\(${concept}\\)="([^"]*)">`, 'g'))].map(
        ([, value]) => value,
      );
    // One group for the frame, three for its highest patches.
    const inEveryGroup = (...expected: string[]) => Array.from({ length: 4 }, () => expected).flat();
    assert.deepEqual(values('111001,DCM,"Algorithm Name"'), inEveryGroup('SALAD phantom'));
    assert.deepEqual(values('111003,DCM,"Algorithm Version"'), inEveryGroup('1'));
    assert.deepEqual(
      values('111002,DCM,"Algorithm Parameters"'),
      inEveryGroup(`sha256=${'ab'.repeat(32)}`, 'engines=onnx+wasm', 'maxFalsePositiveRate=0.05'),
    );
    assert.match(text, /<has obs context TEXT:\(121015,DCM,"Device Observer Model Name"\)="phantom@1">/);
  });

  it('is without errors for public files of many kinds', async function () {
    needsData(this, DATA);
    const files = readdirSync(DATA).filter((name) => name.endsWith('.dcm'));
    for (const name of files) {
      const path = join(DATA, name);
      if (WITHOUT_REPORT.includes(name)) await assert.rejects(readSourceHeader(path), name);
      else await checked(path, [frameOf(1, 'anomalous')]);
    }
    assert.ok(files.length > 20);
  });
});
