/**
 * Gateway, server and archive (Debian's Orthanc) are killed at random while instances come in: the archive has exactly one
 * report, one segmentation and one secondary capture for every acknowledged one.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { dicomFile, testCells } from '../../../bench/support/dicom-file.js';
import { freePort } from '../../../bench/support/free-port.js';
import { resultUid } from '../../../clients/modality/src/results/uid.js';
import type { InstanceResult } from '../../../clients/modality/src/scoring/score-instance.js';
import { createRandom } from '../../../src/util/random.js';
import { needs } from '../../support/dicom/dicom-programs.js';
import {
  type GatewayProcess,
  modality,
  startGatewayProcess,
  writeSettings,
} from '../../support/dicom/gateway-program.js';
import { Orthanc } from '../../support/dicom/orthanc.js';
import { DX_CLASS, RawDicom } from '../../support/dicom/raw-dicom.js';
import { eventually } from '../../support/eventually.js';
import { type ServeProcess, startServe } from '../../support/programs/salad.js';
import { type ModelsFolder, smallModels } from '../../support/servers/small-server.js';

const INSTANCES = 300;
const GATEWAY_KILLS = 10;
const SERVER_KILLS = 3;
const ARCHIVE_KILLS = 3;
const SENDERS = 3;
const SIDE = 64;

describe('kill -9 of gateway, server and archive', function () {
  this.timeout(900_000);
  const random = createRandom(17);
  let folder: string;
  let settings: string;
  let models: ModelsFolder;
  let gateway: GatewayProcess;
  let server: ServeProcess;
  let archive: Orthanc;
  let dicomPort: number;
  let serverAddress: string;
  /** By UID: the answer was success. */
  const acknowledged = new Set<string>();

  before(async function () {
    await needs(this, 'Orthanc');
    folder = mkdtempSync(join(tmpdir(), 'salad-kills-'));
    // Of such a model most of the image lies above the threshold: every instance has a segmentation.
    models = await smallModels({ patchMedian: 0 });
    dicomPort = await freePort();
    serverAddress = `127.0.0.1:${await freePort()}`;
    archive = new Orthanc(join(folder, 'orthanc'), await freePort(), await freePort());
    settings = writeSettings(folder, {
      dicom: { listen: `127.0.0.1:${dicomPort}`, callers: [{ aeTitle: 'DX1' }] },
      server: { targets: [serverAddress], model: 'small', concurrency: 2 },
      destinations: [
        { name: 'pacs', url: archive.dicomWeb, besidesReport: ['segmentation', 'secondaryCapture'] },
      ],
    });
    await archive.start();
    server = await serve();
    gateway = await startGatewayProcess(settings);
  });
  after(async () => {
    await gateway?.stop('SIGKILL');
    await server?.stop('SIGKILL');
    await archive?.kill();
    await models?.remove();
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  const serve = () => startServe('--models', models.path, '--engine', 'onnx', '--listen', serverAddress);

  /** Sends instances one after the other, each until it is acknowledged, as a modality does. */
  async function send(
    uids: readonly string[],
    dataSetOf: (uid: string) => Promise<Uint8Array>,
  ): Promise<void> {
    let peer: RawDicom | undefined;
    for (const uid of uids) {
      const bytes = await dataSetOf(uid);
      while (!acknowledged.has(uid)) {
        try {
          peer ??= await RawDicom.connect(dicomPort);
          if (peer.isFresh && (await peer.associate()) === undefined) throw new Error('closed');
          const status = await peer.store(uid, bytes);
          if (status === undefined) throw new Error('closed');
          assert.equal(status, 0);
          acknowledged.add(uid);
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error;
          peer?.close();
          peer = undefined;
          await sleep(50);
        }
      }
    }
    peer?.close();
  }

  async function dataSetOf(uid: string): Promise<Uint8Array> {
    const study = { '0020000D UI': '1.2.5', '0020000E UI': '1.2.6', '00100020 LO': 'PAT-1' };
    const elements = { '00080016 UI': DX_CLASS, '00080018 UI': uid, ...study };
    const cells = testCells(SIDE, SIDE, 12);
    const file = await dicomFile({ rows: SIDE, columns: SIDE, cells, bitsStored: 12, elements });
    // The data set begins with the SOP Class UID.
    return file.subarray(Buffer.from(file).indexOf(Buffer.from('08001600', 'hex')));
  }

  it('loses none, doubles none, and leaves none in process', async () => {
    const uids = Array.from({ length: INSTANCES }, (_, index) => `1.2.3.${index + 1}`);
    const share = (sender: number) => uids.filter((_, index) => index % SENDERS === sender);
    const sending = Promise.all(
      Array.from({ length: SENDERS }, (_, sender) => send(share(sender), dataSetOf)),
    );
    let isSent = false;
    void sending.then(() => {
      isSent = true;
    });
    let killsWhileSending = 0;
    for (let kill = 1; kill <= GATEWAY_KILLS; kill++) {
      // However slow the machine is, no instance is under way at every kill, which would make it a dead letter.
      if (kill % 2 === 0) await eventually(() => assert.match(gateway.log(), /instance scored/));
      // At a random moment of the work, not of the start.
      await sleep(50 + random() * 500);
      if (!isSent) killsWhileSending += 1;
      await gateway.stop('SIGKILL');
      if (kill % Math.floor(GATEWAY_KILLS / SERVER_KILLS) === 0) {
        await server.stop('SIGKILL');
        server = await serve();
      }
      if (kill % Math.floor(GATEWAY_KILLS / ARCHIVE_KILLS) === 1) {
        await archive.kill();
        await archive.start();
      }
      gateway = await startGatewayProcess(settings);
    }
    await sending;
    assert.ok(killsWhileSending >= 5, `only ${killsWhileSending} kills while instances came in`);
    assert.equal(acknowledged.size, INSTANCES);
    const counts = async () => {
      const { lines } = await modality('status', '--config', settings, '--json');
      return lines[0]!['counts'];
    };
    const expected = { received: 0, streaming: 0, scored: 0, delivered: INSTANCES, 'dead-letter': 0 };
    for (let tries = 0; tries < 480; tries++) {
      if (JSON.stringify(await counts()) === JSON.stringify(expected)) break;
      await sleep(500);
    }
    await eventually(async () => assert.deepEqual(await counts(), expected));
    assert.equal(readdirSync(join(folder, 'inbox/instances')).length, INSTANCES);
    assert.deepEqual(readdirSync(join(folder, 'inbox/aside')), []);
    const [first] = (await modality('show', '1.2.3.1', '--config', settings, '--json')).lines;
    const [last] = (await modality('show', `1.2.3.${INSTANCES}`, '--config', settings, '--json')).lines;
    const [frame] = (first!['result'] as InstanceResult).frames;
    const { model, modelHash, maxFalsePositiveRate, threshold } = frame!;
    for (const [modalityOfKind, kind] of [
      ['SR', 'report'],
      ['SEG', 'segmentation'],
      ['OT', 'secondaryCapture'],
    ] as const) {
      const stored = await archive.instances(modalityOfKind);
      const expectedUids = uids.map((uid) =>
        resultUid(uid, kind, model, modelHash, maxFalsePositiveRate, threshold),
      );
      assert.deepEqual([...stored].sort(), expectedUids.sort(), kind);
    }
    const scoreOf = (shown: Record<string, unknown> | undefined) =>
      (shown!['result'] as { frames: { imageScore: number }[] }).frames[0]!.imageScore;
    // The same pixels: the same score before and after all kills.
    assert.equal(scoreOf(first), scoreOf(last));
  });
});
