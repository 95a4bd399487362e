/** Memory of a server that loads and unloads models: what a version took comes back. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { shippedModels } from '../../src/util/package-root.js';
import { eventually } from '../support/eventually.js';
import { rssBytes, settledRssBytes } from '../support/measurements/process-memory.js';
import { type ServeProcess, startServe } from '../support/programs/salad.js';

const MIB = 1024 * 1024;
const CYCLES = 8;
/** Two checks of an idle server, and the trims of the C library after the collection. */
const RELEASE_MS = 16_000;
const MODEL = 'chest-adult';

describe('memory of a server that loads and unloads models', function () {
  this.timeout(300_000);
  let models: string;
  let server: ServeProcess;
  let client: SaladClient;

  before(async () => {
    models = await mkdtemp(join(tmpdir(), 'salad-live-memory-'));
    for (const name of ['phantom', MODEL]) {
      await cp(join(shippedModels(), name), join(models, name), { recursive: true });
    }
    // Nothing of this model is loaded at the start.
    const settings = ['--set', `modelVersions=all,${MODEL}@999`, '--set', 'admin=true'];
    server = await startServe('--models', models, '--engine', 'onnx', '--workers', '2', ...settings);
    client = new SaladClient(server.address);
  });
  after(async () => {
    client.close();
    await server.stop();
    await rm(models, { recursive: true, force: true });
  });

  const rssMib = async () => {
    await sleep(RELEASE_MS);
    return (await settledRssBytes(server.process.pid!)) / MIB;
  };
  const load = () => client.loadModel(MODEL);
  const unload = async () => {
    await client.unloadModel(MODEL);
    await eventually(async () => assert.equal((await client.modelVersions()).length, 1));
  };

  it('returns to what it was, however often', async () => {
    // What the first load leaves for good: modules, and memory that the C library keeps.
    const start = await rssMib();
    await load();
    await unload();
    const idle = await rssMib();
    await load();
    const loaded = await rssMib();
    await unload();
    const once = await rssMib();
    let peak = 0;
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      await load();
      peak = Math.max(peak, rssBytes(server.process.pid!) / MIB);
      await unload();
    }
    const often = await rssMib();
    const figures = { start, idle, loaded, once, peak, often };
    const text = Object.entries(figures).map(([name, mib]) => `${name} ${Math.round(mib)} MiB`);
    console.log(`      ${text.join(', ')}`);
    const model = loaded - idle;
    assert.ok(model > 0, text.join());
    assert.ok(once - idle < 0.5 * model, `after one unload: ${text.join()}`);
    assert.ok(often - idle < model, `after ${CYCLES} more: ${text.join()}`);
  });
});
