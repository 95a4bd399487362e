import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { dicomFile, testCells } from '../../bench/support/dicom-file.js';
import { BUILT_DECODER, builtDecoder } from '../support/dicom/built-dicom-decoder.js';
import { highestRssBytes } from '../support/measurements/process-memory.js';

const LIMITS = { maxPixels: 64 * 1024 * 1024 };
/** A mammogram: 14.3 million pixels. */
const [ROWS, COLUMNS] = [4664, 3064];
const MIB = 1024 * 1024;
const IMAGES = 6;

function isRunning(pid: number): boolean {
  return existsSync(`/proc/${pid}/status`);
}

describe('DICOM decoder process with a JPEG 2000 mammogram', function () {
  this.timeout(300_000);
  let folder: string;
  let path: string;
  let bytes: Uint8Array;

  before(async function () {
    if (process.platform !== 'linux') this.skip();
    folder = mkdtempSync(join(tmpdir(), 'salad-mammogram-'));
    path = join(folder, 'large.dcm');
    const cells = testCells(ROWS, COLUMNS, 12);
    // Noise, as detectors have it; without noise there would be little to decode.
    for (let i = 0; i < cells.length; i++) cells[i] = (cells[i]! & 0xfe0) | ((i * 2654435761) >>> 27);
    bytes = await dicomFile({
      syntax: 'jpeg2000Lossless',
      rows: ROWS,
      columns: COLUMNS,
      cells,
      bitsStored: 12,
    });
    writeFileSync(path, bytes);
  });
  after(() => {
    if (folder) rmSync(folder, { recursive: true });
  });

  it('has at most 320 MiB of memory after one image and after several', async () => {
    const decoder = new (await builtDecoder())({ processes: 1 });
    try {
      for (let i = 0; i < IMAGES; i++) {
        const file = await decoder.open(bytes, LIMITS);
        assert.equal((await file.frame(0)).samples.length, 2 * ROWS * COLUMNS);
        const peak = highestRssBytes(decoder.pids[0]!);
        assert.ok(peak <= 320 * MIB, `${Math.round(peak / MIB)} MiB after image ${i + 1}`);
        file.close();
      }
    } finally {
      await decoder.close();
    }
  });

  it('ends when the process that started it is killed while it decodes', async () => {
    const script = `
      import { readFileSync } from 'node:fs';
      import { DicomDecoder } from ${JSON.stringify(BUILT_DECODER)};
      const decoder = new DicomDecoder();
      const file = await decoder.open(readFileSync(${JSON.stringify(path)}), { maxPixels: 1e9 });
      console.log(decoder.pids[0]);
      for (;;) await file.frame(0);`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script]);
    const pid = Number(
      await new Promise((done) => createInterface({ input: parent.stdout }).once('line', done)),
    );
    await sleep(100);
    assert.ok(isRunning(pid));
    parent.kill('SIGKILL');
    // It checks its parent once a second or more often.
    for (let tries = 0; isRunning(pid) && tries < 50; tries++) await sleep(100);
    assert.ok(!isRunning(pid));
  });
});
