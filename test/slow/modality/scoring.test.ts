/** From the inbox through a real server: results, failures, and what goes over the wire. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import {
  type AddressInfo,
  createServer as createSocket,
  type Server,
  type Socket,
  connect as tcpConnect,
} from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { testCells } from '../../../bench/support/dicom-file.js';
import { Inbox } from '../../../clients/modality/src/inbox/inbox.js';
import type { Instance, Priority } from '../../../clients/modality/src/inbox/instance.js';
import { Part10Receiver } from '../../../clients/modality/src/inbox/part10-receiver.js';
import { waitMs } from '../../../clients/modality/src/scoring/backoff.js';
import { frameMapOf } from '../../../clients/modality/src/scoring/frame-map.js';
import type { InstanceResult } from '../../../clients/modality/src/scoring/score-instance.js';
import { Scorer, type ScorerOptions } from '../../../clients/modality/src/scoring/scorer.js';
import { Targets } from '../../../clients/modality/src/scoring/targets.js';
import { SaladClient } from '../../../clients/typescript/src/index.js';
import type { RunningServer } from '../../../src/server/server.js';
import { radiographOf } from '../../support/dicom/radiograph.js';
import { eventually } from '../../support/eventually.js';
import { type ModelsFolder, smallModels, startSmall } from '../../support/servers/small-server.js';

const SECRET = 'ZZTOPSECRET';
const DX = '1.2.840.10008.5.1.4.1.1.1.1';
const SIDE = 64;

describe('scoring of the gateway', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: RunningServer;
  let root: string;
  let inbox: Inbox;
  let scorer: Scorer | undefined;
  const events: string[] = [];

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path);
  });
  after(async () => {
    await server.stop(0);
    await models.remove();
  });
  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'salad-scoring-'));
    inbox = await open();
    events.length = 0;
  });
  afterEach(async () => {
    await scorer?.stop();
    scorer = undefined;
    inbox.close();
    rmSync(root, { recursive: true });
  });

  const open = () => Inbox.open(join(root, 'inbox'), { keepFreeBytes: 0, instanceBytesMax: 2 ** 30 });

  function start(addresses: readonly string[], options: Partial<ScorerOptions> = {}): Scorer {
    scorer = new Scorer({
      ...{
        inbox,
        model: { name: 'small' },
        destinations: [],
        maxFalsePositiveRate: undefined,
        concurrency: 1,
      },
      targets: new Targets(addresses.map((target) => ({ target, options: {} }))),
      timeoutMs: { stat: 10_000, routine: 10_000 },
      serverBackoff: { initialMs: 50, maxMs: 200 },
      instanceBackoff: { initialMs: 50, maxMs: 200 },
      events: {
        scored: (id) => events.push(`scored ${id}`),
        attemptFailed: (id, { scope, reason }) => events.push(`${scope} ${id} ${reason}`),
        indexFailed: ({ message }) => events.push(message),
      },
      ...options,
    });
    scorer.start();
    return scorer;
  }

  async function receive(bytes: Uint8Array, priority: Priority = 'routine'): Promise<number> {
    const receiver = new Part10Receiver(inbox, priority);
    await receiver.write(bytes);
    return (await receiver.keep()).id;
  }

  async function untilState(id: number, state: Instance['state']): Promise<Instance> {
    await eventually(() => assert.equal(inbox.index.byId(id)!.state, state, events.join('\n')));
    return inbox.index.byId(id)!;
  }

  const resultOf = ({ result }: Instance) => JSON.parse(result!) as InstanceResult;

  it('keeps the anomaly maps where a destination gets what is drawn from them', async () => {
    const kinds = ['report', 'segmentation'] as const;
    for (const [uid, destination, maps] of [
      ['1.2.1', { destination: 'pacs', kinds: kinds.slice(0, 1) }, []],
      ['1.2.2', { destination: 'pacs', kinds }, [[1, SIDE, SIDE]]],
    ] as const) {
      const id = await receive(await radiographOf(uid));
      start([server.address], { destinations: [destination] });
      await untilState(id, 'scored');
      await scorer!.stop();
      scorer = undefined;
      const kept = inbox.index.maps(id);
      assert.deepEqual(
        kept.map(({ frame, rows, columns }) => [frame, rows, columns]),
        maps,
      );
      for (const map of kept) assert.equal(frameMapOf(map).above.length, SIDE * SIDE);
    }
  });

  it('gives the scores that the server gives for the file itself', async () => {
    const bytes = await radiographOf('1.2.3', { syntax: 'jpeg2000Lossless' });
    const id = await receive(bytes);
    start([server.address]);
    const result = resultOf(await untilState(id, 'scored'));
    const client = new SaladClient(server.address);
    const expected = await client.scoreImage(
      { acquisitionId: 'x', model: { name: 'small' } },
      { encoded: bytes },
    );
    client.close();
    assert.deepEqual([result.rows, result.columns, result.frames.length], [SIDE, SIDE, 1]);
    const [frame] = result.frames;
    assert.equal(frame!.imageScore, expected.imageScore);
    assert.equal(frame!.pValue, expected.pValue);
    assert.equal(frame!.modelHash, expected.model!.bundleSha256);
    assert.deepEqual(frame!.topPatches[0]!.box, expected.topPatches[0]!.box);
  });

  it('scores every frame of an instance', async () => {
    const cells = testCells(3 * SIDE, SIDE, 12);
    const id = await receive(await radiographOf('1.2.3', { syntax: 'rle', frames: 3, cells }));
    start([server.address]);
    const { frames } = resultOf(await untilState(id, 'scored'));
    assert.deepEqual(
      frames.map(({ frame }) => frame),
      [1, 2, 3],
    );
    assert.notEqual(frames[0]!.imageScore, frames[1]!.imageScore);
  });

  it('makes what cannot be scored a dead letter with its reason, and goes on with the others', async () => {
    const colour = await receive(await radiographOf('1.2.1', { photometric: 'RGB' }));
    const cut = (await radiographOf('1.2.2')).subarray(0, -SIDE * SIDE);
    const half = await receive(cut);
    const other = Buffer.from(await radiographOf('1.2.3'));
    const incoming = await inbox.begin({
      ...{ sopClassUid: DX, sopInstanceUid: '1.2.99', syntaxUid: '1.2.840.10008.1.2.1', priority: 'routine' },
    });
    await incoming.write(other.subarray(other.indexOf(Buffer.from('08001600', 'hex'))));
    const { id: mislabelled } = await incoming.keep();
    const good = await receive(await radiographOf('1.2.4'));
    start([server.address]);
    await untilState(good, 'scored');
    assert.match((await untilState(colour, 'dead-letter')).reason!, /^DICOM_UNSUPPORTED: .*RGB/);
    assert.match((await untilState(half, 'dead-letter')).reason!, /^IMAGE_UNREADABLE: /);
    assert.match((await untilState(mislabelled, 'dead-letter')).reason!, /another SOP Instance UID/);
  });

  it('keeps everything while no server answers, and scores it when one does', async () => {
    const probe = createSocket();
    const port = await listen(probe);
    await new Promise((done) => probe.close(done));
    const ids = [await receive(await radiographOf('1.2.1')), await receive(await radiographOf('1.2.2'))];
    start([`127.0.0.1:${port}`]);
    await eventually(() => assert.ok(events.length >= 3));
    for (const id of ids) assert.notEqual(inbox.index.byId(id)!.state, 'dead-letter');
    assert.ok(events.every((event) => event.startsWith('server ') && event.includes('UNAVAILABLE')));
    const late = await startSmall(models.path, { listen: `127.0.0.1:${port}` });
    try {
      for (const id of ids) await untilState(id, 'scored');
      assert.equal(inbox.index.byId(ids[0]!)!.attempts, 1);
    } finally {
      await scorer!.stop();
      scorer = undefined;
      await late.stop(0);
    }
  });

  it('asks the next server where one is away or lacks the model', async () => {
    const other = await startSmall(models.path);
    const empty = await smallModels({ name: 'other' });
    const wrong = await startSmall(empty.path);
    const gone = other.address;
    await other.stop(0);
    try {
      const id = await receive(await radiographOf('1.2.3'));
      start([gone, wrong.address, server.address]);
      await untilState(id, 'scored');
      assert.deepEqual(events, [`scored ${id}`]);
    } finally {
      await wrong.stop(0);
      await empty.remove();
    }
  });

  it('waits, and makes no dead letter, where the settings name a model that no server has', async () => {
    const id = await receive(await radiographOf('1.2.3'));
    start([server.address], { model: { name: 'missing' } });
    await eventually(() => assert.ok(events.length >= 3));
    assert.ok(events.every((event) => event.startsWith(`server ${id} MODEL_NOT_FOUND`)));
    assert.equal(inbox.index.byId(id)!.state === 'dead-letter', false);
  });

  it('goes on after a stop in the middle, with nothing counted and nothing lost', async () => {
    const ids = [];
    for (let count = 0; count < 6; count++) ids.push(await receive(await radiographOf(`1.2.${count}`)));
    const first = start([server.address]);
    await eventually(() => assert.ok(events.length >= 1));
    await first.stop();
    scorer = undefined;
    assert.equal(inbox.index.counts().streaming, 0);
    inbox.close();
    inbox = await open();
    start([server.address]);
    for (const id of ids) assert.equal((await untilState(id, 'scored')).attempts, 1);
    assert.equal(events.length, ids.length);
  });

  it('scores a STAT instance while a routine one is stuck', async () => {
    // Accepts connections and never answers.
    const sockets: Socket[] = [];
    const silent = createSocket((socket) => sockets.push(socket.on('error', () => {})));
    const stuck = `127.0.0.1:${await listen(silent)}`;
    const routine = await receive(await radiographOf('1.2.1'));
    const targets = new Targets([{ target: server.address, options: {} }]);
    const never = new Targets([{ target: stuck, options: {} }]);
    const { call } = targets;
    // The routine instance goes to the server that never answers.
    targets.call = (work, timeoutMs) =>
      (timeoutMs === 9000 ? never.call(work, timeoutMs) : call.call(targets, work, timeoutMs)) as never;
    start([], { targets, timeoutMs: { stat: 10_000, routine: 9000 } });
    await untilState(routine, 'streaming');
    const stat = await receive(await radiographOf('1.2.2'), 'stat');
    scorer!.wake();
    await untilState(stat, 'scored');
    assert.equal(inbox.index.byId(routine)!.state, 'streaming');
    never.close();
    await scorer!.stop();
    scorer = undefined;
    for (const socket of sockets) socket.destroy();
    silent.close();
  });

  it('sends no identifier: of elements, UIDs or file names', async () => {
    const sent: Buffer[] = [];
    const wire = createSocket((client) => {
      const [host, port] = server.address.split(':');
      const upstream = tcpConnect({ host: host!, port: Number(port) });
      client.on('data', (chunk: Buffer) => sent.push(chunk));
      client.pipe(upstream).pipe(client);
      for (const socket of [client, upstream]) socket.on('error', () => {});
    });
    const address = `127.0.0.1:${await listen(wire)}`;
    const uid = '1.2.826.0.1.3680043.99.4711';
    const planted = {
      '00080050 SH': SECRET,
      '00080080 LO': SECRET,
      '00081140 SQ': [{ '00081155 UI': uid, '00100010 PN': SECRET }],
      '00090010 LO': SECRET,
      '00091001 UN': Buffer.from(SECRET),
      '00100010 PN': SECRET,
      '00100020 LO': SECRET,
      '00104000 LT': SECRET,
      '00185101 CS': SECRET,
      '60000010 US': [8],
      '60003000 OW': Buffer.from(SECRET),
    };
    const id = await receive(await radiographOf(uid, { elements: planted }));
    start([address]);
    const instance = await untilState(id, 'scored');
    await scorer!.stop();
    scorer = undefined;
    wire.close();
    const bytes = Buffer.concat(sent).toString('latin1');
    assert.ok(bytes.length > SIDE * SIDE * 2);
    for (const secret of [SECRET, uid]) {
      assert.ok(!bytes.includes(secret), 'on the wire');
      assert.ok(!instance.result!.includes(secret), 'in the result');
    }
  });

  it('waits longer after every failure, up to a limit, and never the same', () => {
    const options = { initialMs: 100, maxMs: 1000 };
    assert.deepEqual(
      [1, 2, 3, 4, 5, 60].map((failures) => waitMs(failures, { ...options, random: () => 0 })),
      [50, 100, 200, 400, 500, 500],
    );
    assert.equal(waitMs(5, { ...options, random: () => 0.5 }), 750);
  });
});

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}
