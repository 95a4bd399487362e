/** Operations of `salad-modality serve`: probes, metrics, signals. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { fileMeta } from '../../clients/modality/src/inbox/file-meta.js';
import { GATEWAY_METRICS } from '../../clients/modality/src/operations/metrics.js';
import {
  type GatewayProcess,
  modality,
  serveCommand,
  startGatewayProcess,
  writeSettings,
} from '../support/dicom/gateway-program.js';
import { fragment, RawDicom } from '../support/dicom/raw-dicom.js';
import { eventually } from '../support/eventually.js';
import { AS_PID_ONE, needsPidNamespaces, pidOneOf } from '../support/programs/pid-one.js';
import { root } from '../support/root.js';

const SECRET = 'ZZTOPSECRET';
const SECRET_UID = '1.2.826.0.1.3680043.99.4711';
/** (0010,0020) LO, explicit little endian. */
const DATA_SET = Buffer.from(`\x10\0\x20\0LO\x0c\0${SECRET} `, 'latin1');
const ANY_PORT = { listen: '127.0.0.1:0' };

describe('operations of salad-modality', function () {
  this.timeout(60_000);
  let folder: string;
  const gateways: GatewayProcess[] = [];
  const children: ChildProcess[] = [];
  const peers: RawDicom[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'salad-operations-'));
  });
  afterEach(async () => {
    for (const peer of peers.splice(0)) peer.close();
    for (const gateway of gateways.splice(0)) await gateway.stop('SIGKILL');
    for (const child of children.splice(0)) {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
    }
    rmSync(folder, { recursive: true });
  });

  async function start(
    settings: Readonly<Record<string, unknown>> = {},
    under: readonly string[] = [],
  ): Promise<GatewayProcess> {
    const file = writeSettings(folder, { operations: ANY_PORT, ...settings });
    const gateway = await startGatewayProcess(file, under);
    gateways.push(gateway);
    return gateway;
  }

  async function associated({ port }: GatewayProcess, calling = 'DX1'): Promise<RawDicom> {
    const peer = await RawDicom.connect(port);
    peers.push(peer);
    await peer.associate({ calling });
    return peer;
  }

  const ask = async (address: string | null, path: string) => {
    const response = await fetch(`http://${address}${path}`);
    return { status: response.status, text: await response.text() };
  };

  it('answers probes, and refuses other paths and methods', async () => {
    const { operations } = await start();
    assert.deepEqual(await ask(operations, '/livez'), { status: 200, text: 'the gateway runs\n' });
    assert.deepEqual(await ask(operations, '/readyz?verbose'), {
      status: 200,
      text: 'the gateway takes instances\n',
    });
    assert.equal((await ask(operations, '/studies')).status, 404);
    assert.equal((await fetch(`http://${operations}/livez`, { method: 'POST' })).status, 405);
    assert.equal((await fetch(`http://${operations}/livez`, { method: 'HEAD' })).status, 200);
  });

  it('is alive and not ready while the disk has too little free space', async () => {
    const { operations } = await start({ keepFreeMib: 2 ** 30 });
    assert.equal((await ask(operations, '/livez')).status, 200);
    const ready = await ask(operations, '/readyz');
    assert.equal(ready.status, 503);
    assert.match(ready.text, /the disk of the inbox has \d+ bytes left, \d+ are kept free/);
  });

  it('is not ready while a watched folder cannot be read, counts it, logs it once, and recovers by itself', async () => {
    const watched = join(folder, 'watched');
    const gateway = await start({ watch: [{ path: 'watched', pollMs: 100 }] });
    const untilReady = (status: number) =>
      eventually(async () => assert.equal((await ask(gateway.operations, '/readyz')).status, status));
    const unreadable = async () =>
      sampleOf((await ask(gateway.operations, '/metrics')).text, 'watch_unreadable', []);
    await untilReady(200);
    assert.equal(await unreadable(), 0);
    for (let count = 1; count <= 2; count++) {
      renameSync(watched, join(folder, 'away'));
      await untilReady(503);
      assert.equal(await unreadable(), 1);
      assert.deepEqual(await ask(gateway.operations, '/readyz'), {
        status: 503,
        text: `the watched folder ${watched} waits: it cannot be read (ENOENT)\n`,
      });
      renameSync(join(folder, 'away'), watched);
      await untilReady(200);
      assert.equal(await unreadable(), 0);
      await eventually(() => {
        assert.equal(gateway.log().match(/watched folder cannot be read/g)?.length, count);
        assert.equal(gateway.log().match(/watched folder can be read again/g)?.length, count);
      });
    }
  });

  it('counts what came through every input, what was refused and why, and shows what the inbox holds', async () => {
    const watched = join(folder, 'watched');
    mkdirSync(watched);
    writeFileSync(join(watched, `${SECRET}.dcm`), SECRET);
    const gateway = await start({
      stow: ANY_PORT,
      watch: [{ path: 'watched', settleMs: 100, incompleteMs: 100, pollMs: 100 }],
      // Refuses every connection.
      server: { targets: ['127.0.0.1:1'], model: 'small' },
      destinations: [{ name: 'pacs', url: 'http://127.0.0.1:1' }],
    });
    const peer = await associated(gateway);
    assert.equal(await peer.store(SECRET_UID, DATA_SET), 0);
    assert.equal(await peer.store(SECRET_UID, DATA_SET), 0);
    assert.equal(await peer.store(SECRET_UID, Buffer.concat([DATA_SET, DATA_SET])), 0x0111);
    assert.equal(await peer.store(SECRET, DATA_SET), 0x0117);
    await associated(gateway, SECRET);
    const part = `\r\n--b\r\nContent-Type: application/dicom\r\n\r\n${SECRET}\r\n--b--\r\n`;
    const type = 'multipart/related; type="application/dicom"; boundary=b';
    const post = (path: string) =>
      fetch(`http://${gateway.stow}${path}`, {
        method: 'POST',
        headers: { 'content-type': type },
        body: part,
      });
    assert.equal((await post('/studies')).status, 409);
    assert.equal((await post(`/${SECRET}`)).status, 404);
    await eventually(async () => {
      const { text } = await ask(gateway.operations, '/metrics');
      const value = (name: string, ...labels: readonly string[]) => sampleOf(text, name, labels);
      assert.equal(value('received_total', 'salad_input="dicom"', 'salad_outcome="stored"'), 1);
      assert.equal(value('received_total', 'salad_input="dicom"', 'salad_outcome="duplicate"'), 1);
      assert.equal(value('refused_total', 'salad_input="dicom"', 'salad_reason="INSTANCE_CONFLICT"'), 1);
      assert.equal(value('refused_total', 'salad_input="dicom"', 'salad_reason="0x0117"'), 1);
      assert.equal(value('refused_total', 'salad_input="stow"', 'salad_reason="IMAGE_UNREADABLE"'), 1);
      assert.equal(value('refused_total', 'salad_input="stow"', 'salad_reason="HTTP_404"'), 1);
      assert.equal(value('refused_total', 'salad_input="watch"', 'salad_reason="IMAGE_UNREADABLE"'), 1);
      assert.equal(value('associations_failed_total', 'salad_reason="callingAeTitle"'), 1);
      assert.equal(value('associations_open'), 1);
      assert.equal(value('receive_duration_count', 'salad_input="dicom"'), 2);
      assert.equal(value('scoring_attempts_total', 'salad_outcome="instance"'), 1);
      assert.equal(value('dead_letters', 'salad_reason="DICOM_UNSUPPORTED"'), 1);
      assert.equal(value('instances', 'salad_state="delivered"'), 0);
      assert.equal(value('conflicts'), 1);
      assert.equal(value('oldest_undelivered_age', 'salad_destination="pacs"'), 0);
      assert.ok(value('inbox_bytes') > DATA_SET.length);
      assert.equal(value('disk_kept_free'), 2 ** 20);
      assert.ok(!text.includes(SECRET) && !text.includes(SECRET_UID), text);
    });
  });

  it('shows dead letters and results that wait after a restart, also those of a destination that was removed', async () => {
    const first = await start();
    const peer = await associated(first);
    await peer.store('1.2.3', DATA_SET);
    await peer.store('1.2.4', DATA_SET);
    await peer.store('1.2.5', DATA_SET);
    await first.stop();
    const { foldersOf } = await import('../../clients/modality/src/inbox/folders.js');
    const { InstanceIndex } = await import('../../clients/modality/src/inbox/instance-index.js');
    const index = new InstanceIndex(foldersOf(join(folder, 'inbox')).index, Date.now);
    const scored = index.takeNext()!;
    index.scored(scored.id, JSON.stringify({ scoredMs: Date.now(), frames: [] }), [
      { destination: 'removed', kinds: ['report'] },
    ]);
    const dead = index.takeNext()!;
    index.deadLetter(dead.id, 'DICOM_UNSUPPORTED: it has no pixels');
    index.close();
    const gateway = await start();
    await eventually(() =>
      assert.match(gateway.log(), /"destination":"removed","count":1,"msg":"results wait for a destination/),
    );
    const { text } = await ask(gateway.operations, '/metrics');
    assert.equal(sampleOf(text, 'dead_letters', ['salad_reason="DICOM_UNSUPPORTED"']), 1);
    assert.equal(sampleOf(text, 'deliveries', ['salad_destination="removed"', 'salad_state="waiting"']), 1);
    assert.equal(sampleOf(text, 'deliveries_orphaned', []), 1);
    assert.equal(sampleOf(text, 'instances', ['salad_state="scored"']), 1);
    assert.ok(sampleOf(text, 'oldest_unscored_age', []) > 0);
    for (const [name, { kind }] of Object.entries(GATEWAY_METRICS)) {
      // Only destinations of the settings have an age.
      if (kind !== 'gauge' || name === 'salad.modality.oldest_undelivered.age') continue;
      assert.match(text, new RegExp(`^${name.replaceAll('.', '_')}(\\{[^}]*\\})? \\d`, 'm'), name);
    }
  });

  it('refuses addresses beyond loopback in plaintext, unless they are allowed', async () => {
    const listen = '0.0.0.0:0';
    const refused = await modality('serve', '--config', writeSettings(folder, { operations: { listen } }));
    assert.equal(refused.code, 2);
    assert.match(
      refused.stderr,
      /operations\.listen: 0\.0\.0\.0:0 is not loopback.*operations\.allowPlaintext/,
    );
    const { operations } = await start({ operations: { listen, allowPlaintext: true } });
    assert.equal((await ask(operations, '/livez')).status, 200);
  });

  it('ends as PID 1 by SIGTERM with exit code 0', async function () {
    needsPidNamespaces(this);
    const gateway = await start({}, AS_PID_ONE);
    const ended = once(gateway.process, 'close');
    process.kill(await pidOneOf(gateway.process.pid!), 'SIGTERM');
    assert.deepEqual(await ended, [0, null]);
    assert.match(gateway.log(), /"msg":"stopped"/);
  });

  it('is not ready as PID 1 while it stops, and ends at once by a second signal', async function () {
    needsPidNamespaces(this);
    const gateway = await start({}, AS_PID_ONE);
    const peer = await associated(gateway);
    // A transfer without the end of its data set: the gateway waits for it.
    peer.storeCommand('1.2.3');
    peer.sendFragments(fragment(1, DATA_SET, 'data', false));
    await eventually(() => assert.equal(readdirSync(join(folder, 'inbox/temporary')).length, 1));
    const pid = await pidOneOf(gateway.process.pid!);
    process.kill(pid, 'SIGTERM');
    await eventually(async () =>
      assert.deepEqual(await ask(gateway.operations, '/readyz'), {
        status: 503,
        text: 'the gateway is stopping\n',
      }),
    );
    const ended = once(gateway.process, 'close');
    process.kill(pid, 'SIGTERM');
    assert.deepEqual(await ended, [130, null]);
  });

  it('is alive and not ready as PID 1 while it starts, and a signal ends it at once', async function () {
    needsPidNamespaces(this);
    const listen = `127.0.0.1:${await freePort()}`;
    // A start that takes long: a large file without a row in the index is hashed. The file is sparse.
    const instances = join(folder, 'inbox/instances');
    mkdirSync(instances, { recursive: true });
    const identity = { sopClassUid: '1.2.840.10008.5.1.4.1.1.1.1', syntaxUid: '1.2.840.10008.1.2.1' };
    writeFileSync(join(instances, 'large.dcm'), fileMeta({ ...identity, sopInstanceUid: '1.2.3' }));
    truncateSync(join(instances, 'large.dcm'), 2 ** 37);
    const [program, ...args] = [
      ...AS_PID_ONE,
      ...serveCommand(writeSettings(folder, { operations: { listen } })),
    ];
    const child = spawn(program!, args, { cwd: root, stdio: 'ignore' });
    children.push(child);
    const ended = once(child, 'close');
    await eventually(async () =>
      assert.deepEqual(await ask(listen, '/readyz'), { status: 503, text: 'the gateway is starting\n' }),
    );
    assert.equal((await ask(listen, '/livez')).status, 200);
    process.kill(await pidOneOf(child.pid!), 'SIGTERM');
    assert.deepEqual(await ended, [130, null]);
  });
});

/** Of the metric `salad_modality_NAME` with these labels; NaN where it is not there. */
function sampleOf(text: string, name: string, labels: readonly string[]): number {
  const line = text
    .split('\n')
    .find(
      (each) =>
        /^[^{ ]+/.exec(each)?.[0] === `salad_modality_${name}` &&
        labels.every((label) => each.includes(label)),
    );
  return Number(line?.slice(line.lastIndexOf(' ')) ?? Number.NaN);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}
