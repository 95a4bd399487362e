/** Delivery of reports by STOW-RS, to a STOW-RS port that keeps them. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { dicomFile, type Elements, testCells } from '../../bench/support/dicom-file.js';
import { Deliverer, type Destination } from '../../clients/modality/src/delivery/deliverer.js';
import { storeByStow } from '../../clients/modality/src/delivery/stow-client.js';
import { Inbox, pathOf } from '../../clients/modality/src/inbox/inbox.js';
import type { Instance, ObjectKind, StoredMap } from '../../clients/modality/src/inbox/instance.js';
import { Part10Receiver } from '../../clients/modality/src/inbox/part10-receiver.js';
import { storedMapOf } from '../../clients/modality/src/scoring/frame-map.js';
import type { InstanceResult } from '../../clients/modality/src/scoring/score-instance.js';
import { StowPort } from '../../clients/modality/src/stow/stow-port.js';
import { parseFile } from '../../src/dicom/data-set.js';
import { AnomalyMap } from '../../src/gen/salad/v1/types.js';
import { collectGarbage } from '../../src/util/collect-garbage.js';
import {
  failedAnswer,
  type StowAnswerSent,
  StowArchive,
  type StowedObject,
  storedAnswer,
} from '../support/dicom/stow-archive.js';
import { eventually } from '../support/eventually.js';

const SR = '1.2.840.10008.5.1.4.1.1.88.33';
const SEG = '1.2.840.10008.5.1.4.1.1.66.4';
const FILE = { bytes: Buffer.from('file'), sopInstanceUid: '1.2.3' };
const NAME = Buffer.from('Müller^Änne', 'latin1');
const RESULT: InstanceResult = {
  scoredMs: Date.UTC(2026, 10, 30, 1, 2, 3),
  rows: 40,
  columns: 48,
  frames: [
    {
      ...{ frame: 1, model: 'phantom@1', modelHash: 'ab'.repeat(32), engines: ['onnx'] },
      ...{ imageScore: 9.774038314819336, pValue: 0.00249, decision: 'anomalous', threshold: 4.21 },
      maxFalsePositiveRate: 0.05,
      coverage: { scored: 9, skipped: 0, failed: 0 },
      topPatches: [
        { score: 1, robustZ: 10.85, pValue: 0.002, box: { top: 4, left: 8, bottom: 20, right: 24 } },
      ],
      warnings: [],
    },
  ],
};

const COLOUR = { pValue: 0.01, red: 200, green: 60, blue: 20, opacity: 0.5 };

/** A map of 10 rows and 12 columns, of which these cells lie above the threshold. */
function mapOf(cells: readonly (readonly [row: number, column: number])[]): StoredMap {
  const values = new Float32Array(120).fill(1);
  for (const [row, column] of cells) values[row * 12 + column] = 6;
  const scale = [4.21, 7.21].map((robustZ) => ({ robustZ, ...COLOUR }));
  const map = AnomalyMap.fromPartial({
    ...{ rows: 10, columns: 12, data: new Uint8Array(values.buffer), scale },
    mapToSource: { xx: 4, yy: 4 },
  });
  return storedMapOf(1, map)!;
}

describe('delivery of the gateway', function () {
  this.timeout(30_000);
  let root: string;
  let inbox: Inbox;
  let archive: Inbox;
  let port: StowPort | undefined;
  let deliverer: Deliverer | undefined;
  const servers: Server[] = [];
  const answeringArchives: StowArchive[] = [];
  const events: string[] = [];

  const openInbox = (name: string) =>
    Inbox.open(join(root, name), { keepFreeBytes: 0, instanceBytesMax: 2 ** 24 });

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'salad-delivery-'));
    inbox = await openInbox('inbox');
    archive = await openInbox('archive');
    events.length = 0;
  });
  afterEach(async () => {
    await deliverer?.stop();
    await port?.close(100);
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
    for (const each of answeringArchives.splice(0)) each.close();
    deliverer = undefined;
    port = undefined;
    for (const each of [inbox, archive]) each.close();
    rmSync(root, { recursive: true });
  });

  async function openArchive(at = 0): Promise<StowPort> {
    port = await StowPort.listen({
      ...{ inbox: archive, host: '127.0.0.1', port: at, priority: 'routine', token: 'right' },
      ...{ connectionsMax: 4, dataMs: 10_000, events: { stowed() {}, requestRefused() {} } },
    });
    return port;
  }

  async function archiveThat(answer: (object: StowedObject) => StowAnswerSent): Promise<StowArchive> {
    const answering = await StowArchive.listen(answer);
    answeringArchives.push(answering);
    return answering;
  }

  async function listening(server: Server): Promise<string> {
    servers.push(server);
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** Until the last server that was started has a connection. */
  async function untilConnected(): Promise<void> {
    await new Promise<void>((done) => servers.at(-1)!.once('request', () => done()));
    // The functions that started the request have returned.
    await new Promise<void>((done) => setImmediate(done));
  }

  function start(...destinations: readonly (Partial<Destination> & { name: string; url: string })[]): void {
    deliverer = new Deliverer({
      inbox,
      destinations: destinations.map((each) => ({
        ...{ authorization: 'Bearer right', timeoutMs: 5000 },
        ...each,
      })),
      backoff: { initialMs: 50, maxMs: 100 },
      events: {
        delivered: (id, destination) => events.push(`delivered ${id} ${destination}`),
        deliveryFailed: (id, destination, { result, reason }) =>
          events.push(`${result} ${id} ${destination} ${reason}`),
        indexFailed: ({ message }) => events.push(message),
      },
    });
    deliverer.start();
  }

  /** An instance with a result that waits for the destinations. */
  async function scored(
    uid: string,
    destinations: readonly string[],
    elements: Elements = {},
    besides: readonly ObjectKind[] = [],
    maps: readonly StoredMap[] = [],
  ): Promise<number> {
    const own: Elements = {
      '00080005 CS': 'ISO_IR 100',
      '00080016 UI': '1.2.840.10008.5.1.4.1.1.1.1',
      '00080018 UI': uid,
      '00100010 PN': NAME,
      '00100020 LO': 'PAT-1',
      '0020000D UI': '1.2.5',
      '0020000E UI': '1.2.6',
    };
    const image = { rows: 40, columns: 48, cells: testCells(40, 48, 12), bitsStored: 12 };
    const receiver = new Part10Receiver(inbox, 'routine');
    await receiver.write(await dicomFile({ ...image, elements: { ...own, ...elements } }));
    const { id } = await receiver.keep();
    assert.equal(inbox.index.takeNext()!.id, id);
    const wanted = destinations.map((destination) => ({
      destination,
      kinds: ['report', ...besides] as const,
    }));
    inbox.index.scored(id, JSON.stringify(RESULT), wanted, maps);
    return id;
  }

  async function untilState(id: number, state: Instance['state']): Promise<Instance> {
    await eventually(() => assert.equal(inbox.index.byId(id)!.state, state, events.join('\n')));
    return inbox.index.byId(id)!;
  }

  it('sends a report of the patient and study of its source, in the same character set', async () => {
    const { port: at } = await openArchive();
    const id = await scored('1.2.3', ['pacs']);
    start({ name: 'pacs', url: `http://127.0.0.1:${at}/dicom-web/` });
    await untilState(id, 'delivered');
    const [kept, ...more] = archive.index.list();
    assert.equal(more.length, 0);
    assert.equal(kept!.sopClassUid, SR);
    assert.match(kept!.sopInstanceUid, /^2\.25\.\d{20,39}$/);
    const { root: report } = parseFile(readFileSync(pathOf(archive.folders, kept!)), 0);
    assert.deepEqual(Buffer.from(report.valueOf('x00100010')).subarray(0, NAME.length), NAME);
    assert.deepEqual(
      ['x00080005', 'x00100020', 'x0020000d', 'x00080060', 'x0040a493', 'x00080023'].map((tag) =>
        report.text(tag as `x${string}`),
      ),
      ['ISO_IR 100', 'PAT-1', '1.2.5', 'SR', 'UNVERIFIED', '20261130'],
    );
    const text = readFileSync(pathOf(archive.folders, kept!)).toString('latin1');
    for (const words of ['9.7740383', 'differs from normal images more', 'Research use only']) {
      assert.ok(text.includes(words), words);
    }
  });

  it('leaves values empty that the source has wrong, and refuses a source without a study', async () => {
    const { port: at } = await openArchive();
    const id = await scored('1.2.3', ['pacs'], { '00100030 DA': '00000000', '00100040 CS': 'unknown' });
    const bad = await scored('1.2.4', ['pacs'], { '0020000D UI': '' });
    start({ name: 'pacs', url: `http://127.0.0.1:${at}` });
    await untilState(id, 'delivered');
    const { root: report } = parseFile(readFileSync(pathOf(archive.folders, archive.index.list()[0]!)), 0);
    assert.deepEqual([report.text('x00100030'), report.text('x00100040')], [undefined, undefined]);
    assert.match((await untilState(bad, 'dead-letter')).reason!, /pacs: \(0020,000d\) is no UID/);
  });

  it('waits for a destination that is away, without delaying another, and delivers once', async () => {
    const probe = await openArchive();
    const at = probe.port;
    await probe.close(0);
    port = undefined;
    const ids = [await scored('1.2.1', ['away', 'there']), await scored('1.2.2', ['away', 'there'])];
    const there = await archiveThat(storedAnswer);
    start({ name: 'away', url: `http://127.0.0.1:${at}` }, { name: 'there', url: there.url });
    await eventually(() =>
      assert.equal(
        events.filter((event) => event.startsWith('delivered') && event.endsWith('there')).length,
        2,
      ),
    );
    for (const id of ids) assert.equal(inbox.index.byId(id)!.state, 'scored');
    await openArchive(at);
    for (const id of ids) await untilState(id, 'delivered');
    assert.equal(archive.index.list().length, 2);
  });

  it('makes the same object of the same result, so that sending it twice doubles nothing', async () => {
    const { port: at } = await openArchive();
    const id = await scored('1.2.3', ['a', 'b']);
    start({ name: 'a', url: `http://127.0.0.1:${at}` }, { name: 'b', url: `http://127.0.0.1:${at}` });
    await untilState(id, 'delivered');
    assert.equal(archive.index.list().length, 1);
    assert.equal(archive.index.conflicts().length, 0);
  });

  it('sends a segmentation of what lies above the threshold, in pixels of the source', async () => {
    const { port: at } = await openArchive();
    const id = await scored('1.2.3', ['pacs'], {}, ['segmentation'], [mapOf([[1, 2]])]);
    const none = await scored('1.2.4', ['pacs'], {}, ['segmentation'], [mapOf([])]);
    start({ name: 'pacs', url: `http://127.0.0.1:${at}` });
    for (const each of [id, none]) await untilState(each, 'delivered');
    assert.deepEqual(
      inbox.index.objects(none).map(({ kind, state, reason }) => [kind, state, reason]),
      [
        ['report', 'delivered', null],
        ['segmentation', 'none', 'nothing lies above the threshold'],
      ],
    );
    const kept = archive.index.list().filter(({ sopClassUid }) => sopClassUid === SEG);
    assert.equal(kept.length, 1);
    const { root: seg } = parseFile(readFileSync(pathOf(archive.folders, kept[0]!)), 0);
    assert.deepEqual(
      [seg.uint16('x00280010'), seg.uint16('x00280011'), seg.text('x0020000d')],
      [40, 48, '1.2.5'],
    );
    // Each pixel of the map is 4 rows by 4 columns of the image.
    const bits = seg.valueOf('x7fe00010');
    for (let row = 0; row < 40; row++) {
      for (let column = 0; column < 48; column++) {
        const pixel = row * 48 + column;
        const isSet = (bits[pixel >> 3]! >> (pixel & 7)) & 1;
        assert.equal(isSet, Number(row >> 2 === 1 && column >> 2 === 2), `row ${row}, column ${column}`);
      }
    }
  });

  it('sends the other objects where one is refused, and each once', async () => {
    const pacs = await archiveThat((object) =>
      object.sopClassUid === SEG && pacs.received.length < 3
        ? failedAnswer(200, 0xa900, object)
        : storedAnswer(object),
    );
    const id = await scored('1.2.3', ['pacs'], {}, ['segmentation'], [mapOf([[1, 2]])]);
    start({ name: 'pacs', url: pacs.url });
    const dead = await untilState(id, 'dead-letter');
    assert.equal(dead.reason, 'pacs: segmentation: HTTP 200, failure reason 0xa900');
    inbox.index.retry(id);
    await untilState(id, 'delivered');
    assert.deepEqual(
      pacs.received.map(({ sopClassUid }) => sopClassUid),
      [SR, SEG, SEG],
    );
  });

  it('makes a refused report a dead letter with the reason, which retry sends again', async () => {
    const refusing = await archiveThat(() => failedAnswer(200, 0xa900));
    const id = await scored('1.2.3', ['pacs']);
    start({ name: 'pacs', url: refusing.url });
    assert.equal((await untilState(id, 'dead-letter')).reason, 'pacs: HTTP 200, failure reason 0xa900');
    await deliverer!.stop();
    const { port: at } = await openArchive();
    inbox.index.retry(id);
    start({ name: 'pacs', url: `http://127.0.0.1:${at}` });
    await untilState(id, 'delivered');
  });

  it('waits behind a proxy that answers with its login page, until the archive names the report as stored', async () => {
    const login = { status: 200, body: '<!DOCTYPE html><title>Log in</title>' };
    let isLoggedIn = false;
    const pacs = await archiveThat((object) => (isLoggedIn ? storedAnswer(object, 0xb000) : login));
    const id = await scored('1.2.3', ['pacs']);
    start({ name: 'pacs', url: pacs.url });
    const unclear = `unavailable ${id} pacs HTTP 200, and the answer does not name the object as stored`;
    await eventually(() => assert.ok(events.filter((event) => event === unclear).length >= 2));
    assert.equal(inbox.index.byId(id)!.state, 'scored');
    isLoggedIn = true;
    await untilState(id, 'delivered');
    assert.equal(new Set(pacs.received.map(({ sopInstanceUid }) => sopInstanceUid)).size, 1);
  });

  it('waits where the credentials are wrong or the archive does not answer', async () => {
    const { port: at } = await openArchive();
    const silent = await listening(createServer(() => {}));
    const id = await scored('1.2.3', ['secured', 'silent']);
    start(
      { name: 'secured', url: `http://127.0.0.1:${at}`, authorization: 'Bearer wrong' },
      { name: 'silent', url: silent, timeoutMs: 200 },
    );
    await eventually(() => {
      assert.ok(events.filter((event) => event === `unavailable ${id} secured HTTP 401`).length >= 2);
      assert.ok(events.includes(`unavailable ${id} silent no answer in time`));
    });
    assert.equal(inbox.index.byId(id)!.state, 'scored');
  });

  it('ends a request without an answer by its time limit, also after garbage was collected', async () => {
    const url = await listening(createServer(() => {}));
    const outcome = storeByStow({ url, timeoutMs: 300 }, FILE, new AbortController().signal);
    await untilConnected();
    collectGarbage();
    assert.deepEqual(await outcome, { result: 'unavailable', reason: 'no answer in time' });
  });

  it('ends a request without an answer at once when the gateway stops', async () => {
    const url = await listening(createServer(() => {}));
    const abort = new AbortController();
    const outcome = storeByStow({ url, timeoutMs: 2 ** 31 - 1 }, FILE, abort.signal);
    await untilConnected();
    collectGarbage();
    abort.abort();
    assert.deepEqual(await outcome, { result: 'unavailable', reason: 'the gateway stops' });
  });
});
