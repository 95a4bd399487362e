/** Peak memory of the gateway process while mammograms arrive, and are scored, drawn and delivered. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { writeFiles } from '../../../bench/modality/files.js';
import { measureMemory } from '../../../bench/modality/memory.js';
import { shippedModels } from '../../../src/util/package-root.js';
import { needs } from '../../support/dicom/dicom-programs.js';
import { type ServeProcess, startServe } from '../../support/programs/salad.js';

/** Of 12 bits: 42 MB each. */
const [ROWS, COLUMNS] = [5120, 4096];
const INSTANCES = 6;
/** Above the loaded program: two frames would not fit. */
const GROWTH_MIB_MAX = 85;
/** A decoder process, with a frame of 42 MB. */
const DECODER_MIB_MAX = 320;

describe('memory of the gateway', function () {
  this.timeout(240_000);
  let folder: string;
  let server: ServeProcess;

  before(async function () {
    await needs(this, 'storescu', 'Orthanc');
    folder = mkdtempSync(join(tmpdir(), 'salad-gateway-memory-'));
    server = await startServe('--models', shippedModels(), '--engine', 'onnx');
  });
  after(async () => {
    await server?.stop('SIGKILL');
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  it(`grows by at most ${GROWTH_MIB_MAX} MiB while mammograms of 42 MB arrive, are scored and their results delivered`, async () => {
    const { raw } = await writeFiles(join(folder, 'files'), [ROWS, COLUMNS]);
    const settings = { server: { targets: [server.address], model: 'phantom' } };
    const memory = await measureMemory(join(folder, 'gateway'), settings, raw, 'raw', INSTANCES);
    console.log(`      ${JSON.stringify(memory)}`);
    assert.ok(memory.gateway - memory.gatewayLoaded < GROWTH_MIB_MAX, `${memory.gateway.toFixed(0)} MiB`);
    assert.ok(memory.decoder <= DECODER_MIB_MAX, `${memory.decoder.toFixed(0)} MiB`);
  });
});
