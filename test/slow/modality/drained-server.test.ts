/** A server that is drained while the gateway streams to it, and the next server on its port. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { freePort } from '../../../bench/support/free-port.js';
import { foldersOf } from '../../../clients/modality/src/inbox/folders.js';
import { InstanceIndex } from '../../../clients/modality/src/inbox/instance-index.js';
import { resultUid } from '../../../clients/modality/src/results/uid.js';
import type { InstanceResult } from '../../../clients/modality/src/scoring/score-instance.js';
import {
  type GatewayProcess,
  startGatewayProcess,
  writeSettings,
} from '../../support/dicom/gateway-program.js';
import { radiographOf } from '../../support/dicom/radiograph.js';
import { RawDicom } from '../../support/dicom/raw-dicom.js';
import { StowArchive, storedAnswer } from '../../support/dicom/stow-archive.js';
import { eventually } from '../../support/eventually.js';
import { type ServeProcess, startServe } from '../../support/programs/salad.js';
import { type ModelsFolder, smallModels } from '../../support/servers/small-server.js';

const DRAINS = 3;
/** Instances that wait while others are sent, at most. */
const WAITING = 8;
/** So slow that an instance is mostly under way. */
const WIDTH = 512;

describe('a server that is drained while the gateway streams to it', function () {
  this.timeout(300_000);
  let folder: string;
  let settings: string;
  let models: ModelsFolder;
  let archive: StowArchive;
  let gateway: GatewayProcess;
  let server: ServeProcess;
  let address: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-drained-'));
    models = await smallModels({ width: WIDTH });
    address = `127.0.0.1:${await freePort()}`;
    archive = await StowArchive.listen((object) => storedAnswer(object));
    settings = writeSettings(folder, {
      operations: { listen: '127.0.0.1:0' },
      server: { targets: [address], model: 'small', concurrency: 2 },
      destinations: [{ name: 'pacs', url: archive.url }],
    });
    server = await serve();
    gateway = await startGatewayProcess(settings);
  });
  after(async () => {
    await gateway?.stop('SIGKILL');
    await server?.stop('SIGKILL');
    archive?.close();
    await models?.remove();
    rmSync(folder, { recursive: true });
  });

  const serve = () =>
    startServe('--models', models.path, '--engine', 'onnx', '--workers', '1', '--listen', address);

  /** Stores instances until `enough`. @returns their UIDs */
  async function send(enough: () => boolean): Promise<string[]> {
    const peer = await RawDicom.connect(gateway.port);
    await peer.associate();
    const uids: string[] = [];
    while (!enough()) {
      const uid = `1.2.3.${uids.length + 1}`;
      const elements = { '0020000D UI': '1.2.5', '0020000E UI': '1.2.6' };
      assert.equal(await peer.store(uid, await radiographOf(uid, { bare: true, elements })), 0);
      uids.push(uid);
      await eventually(async () => assert.ok(enough() || (await count('received')) < WAITING), 60_000);
    }
    peer.close();
    return uids;
  }

  /** Instances in a state. */
  async function count(state: string): Promise<number> {
    const text = await (await fetch(`http://${gateway.operations}/metrics`)).text();
    const line = new RegExp(`^salad_modality_instances\\{salad_state="${state}"[^}]*\\} (\\d+)$`, 'm');
    return Number(line.exec(text)?.[1]);
  }

  const scoredCount = () => gateway.log().match(/"msg":"instance scored"/g)?.length ?? 0;

  it('ends what runs and the next server takes the rest: one whole result for every instance', async () => {
    let drains = 0;
    const sent = send(() => drains === DRAINS);
    for (; drains < DRAINS; drains++) {
      // The server of this round is at work.
      const already = scoredCount();
      await eventually(async () => {
        assert.ok(scoredCount() > already, gateway.log());
        assert.ok((await count('streaming')) > 0, 'no instance is under way');
      }, 60_000);
      assert.equal(await server.stop('SIGTERM'), 0);
      server = await serve();
    }
    const uids = await sent;
    await eventually(async () => assert.equal(await count('delivered'), uids.length, gateway.log()), 120_000);
    assert.equal(scoredCount(), uids.length);
    await gateway.stop();
    const index = new InstanceIndex(foldersOf(join(folder, 'inbox')).index, Date.now);
    const results = index.list().map(({ result }) => (JSON.parse(result!) as InstanceResult).frames);
    index.close();
    const [first] = results[0]!;
    for (const [frame, ...more] of results) {
      assert.equal(more.length, 0);
      assert.deepEqual([frame!.imageScore, frame!.coverage], [first!.imageScore, first!.coverage]);
      assert.deepEqual([frame!.coverage.failed, frame!.coverage.skipped], [0, 0]);
    }
    const { model, modelHash, maxFalsePositiveRate, threshold } = first!;
    const expected = uids.map((uid) =>
      resultUid(uid, 'report', model, modelHash, maxFalsePositiveRate, threshold),
    );
    // A report that was sent twice would be there twice.
    assert.deepEqual(archive.received.map(({ sopInstanceUid }) => sopInstanceUid).sort(), expected.sort());
  });
});
