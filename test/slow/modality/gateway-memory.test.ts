/** Peak memory of the gateway process while mammograms arrive and are scored. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { dicomFile, testCells } from '../../../bench/support/dicom-file.js';
import { needs, runProgram } from '../../support/dicom/dicom-programs.js';
import {
  type GatewayProcess,
  startGatewayProcess,
  writeSettings,
} from '../../support/dicom/gateway-program.js';
import { DX_CLASS } from '../../support/dicom/raw-dicom.js';
import { eventually } from '../../support/eventually.js';
import { highestRssBytes, rssBytes } from '../../support/measurements/process-memory.js';
import { type ServeProcess, startServe } from '../../support/programs/salad.js';
import { type ModelsFolder, smallModels } from '../../support/servers/small-server.js';

const [ROWS, COLUMNS] = [4096, 3328];
/** 27 MB each. */
const INSTANCES = 8;
/** Above the loaded program, which takes about 100 MiB. */
const GROWTH_MIB_MAX = 55;

describe('memory of the gateway', function () {
  this.timeout(180_000);
  let folder: string;
  let models: ModelsFolder;
  let server: ServeProcess;
  let gateway: GatewayProcess;

  before(async function () {
    await needs(this, 'storescu');
    folder = mkdtempSync(join(tmpdir(), 'salad-gateway-memory-'));
    models = await smallModels();
    server = await startServe('--models', models.path, '--engine', 'onnx');
    const settings = { server: { targets: [server.address], model: 'small' } };
    gateway = await startGatewayProcess(writeSettings(folder, settings));
  });
  after(async () => {
    await gateway?.stop('SIGKILL');
    await server?.stop('SIGKILL');
    await models?.remove();
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  it(`grows by at most ${GROWTH_MIB_MAX} MiB while it receives and sends mammograms of 27 MB`, async () => {
    const pid = gateway.process.pid!;
    const loadedBytes = rssBytes(pid);
    const path = join(folder, 'mammogram.dcm');
    const image = { rows: ROWS, columns: COLUMNS, cells: testCells(ROWS, COLUMNS, 12), bitsStored: 12 };
    const uids = { '00080018 UI': '1.2.3', '0020000D UI': '1.2.4', '0020000E UI': '1.2.5' };
    const replaced = { '00100010 PN': 'A', '00100020 LO': '1', '00200010 SH': '1', '00200011 IS': '1' };
    const elements = { '00080016 UI': DX_CLASS, ...uids, ...replaced, '00200013 IS': '1' };
    writeFileSync(path, await dicomFile({ ...image, syntax: 'explicit', elements }));
    const called = ['-aet', 'DX1', '-aec', 'SALAD', '-xe', '+II', '--repeat', String(INSTANCES)];
    const { code, output } = await runProgram('storescu', ...called, '127.0.0.1', String(gateway.port), path);
    assert.equal(code, 0, output);
    const scored = () => gateway.log().split('"instance scored"').length - 1;
    await eventually(() => assert.equal(scored(), INSTANCES), 120_000);
    const growthMib = (highestRssBytes(pid) - loadedBytes) / 2 ** 20;
    assert.ok(growthMib < GROWTH_MIB_MAX, `${growthMib.toFixed(0)} MiB`);
  });
});
