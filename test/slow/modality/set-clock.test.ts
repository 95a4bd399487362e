/** The gateway process on a machine whose clock is set back and forward while it works (Debian's libfaketime). */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { freePort } from '../../../bench/support/free-port.js';
import { needs } from '../../support/dicom/dicom-programs.js';
import {
  type GatewayProcess,
  modality,
  startGatewayProcess,
  writeSettings,
} from '../../support/dicom/gateway-program.js';
import { radiographOf } from '../../support/dicom/radiograph.js';
import { RawDicom } from '../../support/dicom/raw-dicom.js';
import { StowArchive, storedAnswer } from '../../support/dicom/stow-archive.js';
import { eventually } from '../../support/eventually.js';
import { type ServeProcess, startServe } from '../../support/programs/salad.js';
import { type ModelsFolder, smallModels } from '../../support/servers/small-server.js';

/** By which the clock differs from the right time, one after the other. */
const DIFFERENCES = ['-1d', '+400d', '-3y', '+0'];
const YEAR_MS = 365 * 24 * 3_600_000;
/** Instances that are stored under each. */
const EACH = 3;

describe('the gateway, when the clock of the machine is set', function () {
  this.timeout(180_000);
  let folder: string;
  let settings: string;
  let models: ModelsFolder;
  let archive: StowArchive;
  let isAway = false;
  let gateway: GatewayProcess;
  let server: ServeProcess | undefined;
  let address: string;
  const uids: string[] = [];
  /** By the archive. */
  const stored: string[] = [];

  before(async function () {
    await needs(this, 'faketime');
    folder = mkdtempSync(join(tmpdir(), 'salad-clock-'));
    models = await smallModels();
    address = `127.0.0.1:${await freePort()}`;
    archive = await StowArchive.listen((object) => {
      if (isAway) return { status: 503 };
      stored.push(object.sopInstanceUid);
      return storedAnswer(object);
    });
    settings = writeSettings(folder, {
      server: { targets: [address], model: 'small' },
      destinations: [{ name: 'pacs', url: archive.url }],
    });
    const library = spawnSync('faketime', ['-m', '-f', '+0', 'printenv', 'LD_PRELOAD'], { encoding: 'utf8' });
    setClock('+0');
    gateway = await startGatewayProcess(settings, [], {
      LD_PRELOAD: library.stdout.trim(),
      FAKETIME_TIMESTAMP_FILE: join(folder, 'clock'),
      // Only the clock that can be set.
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_NO_CACHE: '1',
      NO_FAKE_STAT: '1',
    });
  });
  after(async () => {
    await gateway?.stop('SIGKILL');
    await server?.stop('SIGKILL');
    archive?.close();
    await models?.remove();
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  const setClock = (difference: string) => writeFileSync(join(folder, 'clock'), difference);
  const counts = async () =>
    (await modality('status', '--config', settings, '--json')).lines[0]!['counts'] as Record<string, number>;

  async function store(): Promise<void> {
    const peer = await RawDicom.connect(gateway.port);
    await peer.associate();
    for (let count = 0; count < EACH; count++) {
      const uid = `1.2.3.${uids.length + 1}`;
      const elements = { '0020000D UI': '1.2.5', '0020000E UI': '1.2.6' };
      assert.equal(await peer.store(uid, await radiographOf(uid, { bare: true, elements })), 0);
      uids.push(uid);
    }
    peer.close();
  }

  /** How far the newest line of the log lies in the past, by its own time, in years. */
  const logAgeYears = () => (Date.now() - Number(/.*"time":(\d+)/s.exec(gateway.log())![1])) / YEAR_MS;

  it('scores and delivers every instance once, although server and archive are away in between', async () => {
    for (const [step, difference] of DIFFERENCES.entries()) {
      setClock(difference);
      // What waits for the archive or the server waits while the clock is set back, and forward.
      isAway = step === 1 || step === 2;
      await store();
      if (difference === '-3y')
        await eventually(() => assert.ok(logAgeYears() > 2, `${logAgeYears()} years`));
      if (step === 1)
        server = await startServe('--models', models.path, '--engine', 'onnx', '--listen', address);
      if (step > 0) await eventually(async () => assert.equal((await counts())['received'], 0), 90_000);
    }
    await eventually(async () => assert.equal((await counts())['delivered'], uids.length), 90_000);
    assert.equal(stored.length, uids.length);
    assert.equal(new Set(stored).size, uids.length);
    assert.equal((await counts())['dead-letter'], 0);
    // None is older than the settings say, whatever the clock was at the time.
    assert.equal(readdirSync(join(folder, 'inbox/instances')).length, uids.length);
  });
});
