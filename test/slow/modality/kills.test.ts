/**
 * Gateway, server and archive (Debian's Orthanc) are each killed at random, independently of each other, while instances
 * come in: the archive has exactly one report, segmentation and secondary capture for every acknowledged one.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { freePort } from '../../../bench/support/free-port.js';
import { resultUid } from '../../../clients/modality/src/results/uid.js';
import type { InstanceResult } from '../../../clients/modality/src/scoring/score-instance.js';
import { createRandom } from '../../../src/util/random.js';
import { needs, runProgram, storeStatuses } from '../../support/dicom/dicom-programs.js';
import {
  type GatewayProcess,
  modality,
  startGatewayProcess,
  writeSettings,
} from '../../support/dicom/gateway-program.js';
import { Orthanc } from '../../support/dicom/orthanc.js';
import { radiographOf } from '../../support/dicom/radiograph.js';
import { eventually } from '../../support/eventually.js';
import { type ServeProcess, startServe } from '../../support/programs/salad.js';
import { type ModelsFolder, smallModels } from '../../support/servers/small-server.js';

const INSTANCES = 300;
const GATEWAY_KILLS = 10;
const SERVER_KILLS = 3;
const ARCHIVE_KILLS = 3;
/** Loops of DCMTK's storescu. */
const SENDERS = 3;
/** Instances of an association. */
const BATCH = 5;
/** Mean pause after an association: instances come in for as long as programs are killed. */
const SEND_PAUSE_MS = 1500;
const STUDY = { '0020000D UI': '1.2.5', '0020000E UI': '1.2.6', '00100020 LO': 'PAT-1' };

describe('kill -9 of gateway, server and archive', function () {
  this.timeout(900_000);
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
  let isKilling = true;

  before(async function () {
    await needs(this, 'Orthanc', 'storescu');
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

  /**
   * Sends instances by storescu, several on an association, those that were not acknowledged again, as a modality does,
   * and until no kill is left.
   */
  async function send(sender: number): Promise<void> {
    const random = createRandom(100 + sender);
    for (let batch = 1; isKilling || batch * BATCH <= INSTANCES / SENDERS; batch++) {
      let left = Array.from({ length: BATCH }, (_, index) => `1.2.3.${sender + 1}.${batch}.${index + 1}`);
      const pathOf = (uid: string) => join(folder, `${uid}.dcm`);
      for (const uid of left) writeFileSync(pathOf(uid), await radiographOf(uid, { elements: STUDY }));
      while (left.length > 0) {
        const peer = ['-d', '-aet', 'DX1', '-aec', 'SALAD', '127.0.0.1', String(dicomPort)];
        const { code, output } = await runProgram('storescu', ...peer, ...left.map(pathOf));
        // It stops at the first instance without success: the answers belong to the first files.
        const statuses = storeStatuses(output);
        for (const status of statuses) assert.equal(status, '0x0000', output);
        if (code === 0) assert.equal(statuses.length, left.length, output);
        for (const uid of left.slice(0, statuses.length)) acknowledged.add(uid);
        left = left.slice(statuses.length);
        if (left.length > 0) await sleep(100);
      }
      if (isKilling) await sleep(2 * random() * SEND_PAUSE_MS);
    }
  }

  /** Kills at random moments, by a seed of its own. @param kill also starts the program again */
  async function killAtRandom(
    seed: number,
    kills: number,
    [fromMs, toMs]: readonly [number, number],
    kill: (number: number) => Promise<void>,
  ): Promise<void> {
    const random = createRandom(seed);
    for (let number = 1; number <= kills; number++) {
      await sleep(fromMs + random() * (toMs - fromMs));
      await kill(number);
    }
  }

  const isAlive = ({ process: { exitCode, signalCode } }: GatewayProcess) =>
    exitCode === null && signalCode === null;

  /** Whether the gateway lives, with instances whose report the archive lacks. */
  async function hasWork(): Promise<boolean> {
    return isAlive(gateway) && (await archive.instances('SR')).length < acknowledged.size;
  }

  /** Kills while a living gateway has work. @returns whether it lived until the kill was over */
  async function killUnderWork(kill: () => Promise<unknown>): Promise<boolean> {
    await eventually(async () => assert.ok(await hasWork()), 90_000);
    const before = gateway;
    await kill();
    return before === gateway && isAlive(before);
  }

  it('loses none, doubles none, and leaves none in process', async () => {
    const killed = { gateway: 0, server: 0, archive: 0 };
    const underWork = { server: 0, archive: 0 };
    const killing = Promise.all([
      killAtRandom(17, GATEWAY_KILLS, [500, 3500], async (number) => {
        // However slow the machine is, no instance is under way at every kill, which would make it a dead letter.
        if (number % 2 === 0) await eventually(() => assert.match(gateway.log(), /instance scored/), 90_000);
        await gateway.stop('SIGKILL');
        killed.gateway += 1;
        gateway = await startGatewayProcess(settings);
      }),
      killAtRandom(18, SERVER_KILLS, [2000, 9000], async () => {
        if (await killUnderWork(() => server.stop('SIGKILL'))) underWork.server += 1;
        killed.server += 1;
        server = await serve();
      }),
      killAtRandom(19, ARCHIVE_KILLS, [2000, 9000], async () => {
        if (await killUnderWork(() => archive.kill())) underWork.archive += 1;
        killed.archive += 1;
        await archive.start();
      }),
    ]).finally(() => {
      isKilling = false;
    });
    const senders = Array.from({ length: SENDERS }, (_, sender) => send(sender));
    await Promise.all([killing, ...senders]);
    assert.deepEqual(killed, { gateway: GATEWAY_KILLS, server: SERVER_KILLS, archive: ARCHIVE_KILLS });
    assert.ok(underWork.server > 0 && underWork.archive > 0, JSON.stringify(underWork));
    const uids = [...acknowledged];
    assert.ok(uids.length >= INSTANCES, `only ${uids.length} instances`);
    const counts = async () => {
      const { lines } = await modality('status', '--config', settings, '--json');
      return lines[0]!['counts'];
    };
    const expected = { received: 0, streaming: 0, scored: 0, delivered: uids.length, 'dead-letter': 0 };
    for (let tries = 0; tries < 480; tries++) {
      if (JSON.stringify(await counts()) === JSON.stringify(expected)) break;
      await sleep(500);
    }
    await eventually(async () => assert.deepEqual(await counts(), expected));
    assert.equal(readdirSync(join(folder, 'inbox/instances')).length, uids.length);
    assert.deepEqual(readdirSync(join(folder, 'inbox/aside')), []);
    const [first] = (await modality('show', uids[0]!, '--config', settings, '--json')).lines;
    const [last] = (await modality('show', uids.at(-1)!, '--config', settings, '--json')).lines;
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
