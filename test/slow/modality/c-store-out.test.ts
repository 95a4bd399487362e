/** Delivery by C-STORE, to DCMTK's storescp. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, before, beforeEach, describe, it } from 'mocha';
import { dicomFile, testCells } from '../../../bench/support/dicom-file.js';
import { freePort } from '../../../bench/support/free-port.js';
import { storeByCStore } from '../../../clients/modality/src/delivery/c-store-client.js';
import { buildReport } from '../../../clients/modality/src/results/report.js';
import type { ResultObject } from '../../../clients/modality/src/results/result-object.js';
import { readSourceHeader } from '../../../clients/modality/src/results/source-header.js';
import type { FrameResult } from '../../../clients/modality/src/scoring/score-instance.js';
import { needs, runProgram } from '../../support/dicom/dicom-programs.js';
import { eventually } from '../../support/eventually.js';

const NAME = Buffer.from('Müller^Änne', 'latin1');

describe('delivery by C-STORE', function () {
  this.timeout(60_000);
  let folder: string;
  let port: number;
  let archive: ChildProcess | undefined;
  let report: ResultObject;

  before(async function () {
    await needs(this, 'storescp', 'dciodvfy');
  });
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-storescp-'));
    port = await freePort();
    const elements = {
      ...{
        '00080005 CS': 'ISO_IR 100',
        '00080016 UI': '1.2.840.10008.5.1.4.1.1.1.1',
        '00080018 UI': '1.2.3',
      },
      ...{ '00100010 PN': NAME, '0020000D UI': '1.2.5', '0020000E UI': '1.2.6' },
    };
    const source = join(folder, 'source');
    const image = { rows: 40, columns: 48, cells: testCells(40, 48, 12), bitsStored: 12 };
    writeFileSync(source, await dicomFile({ ...image, elements }));
    const frame: FrameResult = {
      ...{ frame: 1, model: 'phantom@1', modelHash: 'ab'.repeat(32), engines: ['onnx'], imageScore: 9.77 },
      ...{ pValue: 0.00249, decision: 'normal', threshold: 4.21, maxFalsePositiveRate: 0.05 },
      coverage: { scored: 9, skipped: 0, failed: 0 },
      ...{ topPatches: [], warnings: [] },
    };
    const result = { scoredMs: 1.7e12, rows: 40, columns: 48, frames: [frame] };
    report = buildReport(await readSourceHeader(source), result);
    rmSync(source);
  });
  afterEach(async () => {
    if (archive?.exitCode === null) {
      archive.kill('SIGKILL');
      await once(archive, 'exit');
    }
    archive = undefined;
    rmSync(folder, { recursive: true });
  });

  async function start(...args: readonly string[]): Promise<void> {
    archive = spawn('storescp', ['-od', folder, ...args, String(port)], { stdio: 'ignore' });
    await eventually(async () => {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      socket.destroy();
    });
  }

  const send = (signal = new AbortController().signal, timeoutMs = 10_000) =>
    storeByCStore(
      { host: '127.0.0.1', port, calledAeTitle: 'PACS', callingAeTitle: 'SALAD', timeoutMs },
      report.dataSet,
      signal,
    );

  for (const [name, ...args] of [
    ['prefers Explicit VR Little Endian', '+xe'],
    ['takes Implicit VR Little Endian only', '+xi'],
  ] as const) {
    it(`sends the report, its text byte for byte, to an archive that ${name}`, async () => {
      await start(...args);
      assert.deepEqual(await send(), { result: 'delivered', reason: 'stored' });
      assert.equal((await send()).result, 'delivered');
      const [file, ...more] = readdirSync(folder);
      assert.equal(more.length, 0, 'the same object was stored twice');
      const path = join(folder, file!);
      assert.ok(readFileSync(path).includes(NAME));
      const { output } = await runProgram('dciodvfy', path);
      assert.deepEqual(
        output.split('\n').filter((line) => line.startsWith('Error')),
        [],
      );
    });
  }

  it('is unavailable where the archive refuses the association, breaks off, or is away', async () => {
    await start('--refuse');
    assert.deepEqual(await send(), { result: 'unavailable', reason: 'association rejected' });
    archive!.kill('SIGKILL');
    await once(archive!, 'exit');
    assert.equal((await send()).result, 'unavailable');
    port = await freePort();
    await start('--abort-after');
    assert.equal((await send()).result, 'unavailable');
  });

  it('is unavailable where no status comes in time, or the gateway stops', async () => {
    const silent = createServer((socket) => socket.on('error', () => {}));
    await new Promise<void>((done) => silent.listen(port, '127.0.0.1', done));
    assert.deepEqual(await send(undefined, 200), { result: 'unavailable', reason: 'no answer in time' });
    const abort = new AbortController();
    const sending = send(abort.signal);
    abort.abort();
    assert.deepEqual(await sending, { result: 'unavailable', reason: 'the gateway stops' });
    silent.close();
  });
});
