import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { ClientHttp2Session } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { after, before, describe, it } from 'mocha';
import { SaladClient } from '../../clients/typescript/src/index.js';
import type { RunningServer } from '../../src/server/server.js';
import { makeAuthority } from '../support/certificates.js';
import { header } from '../support/grpc-client.js';
import { connectRaw, encode, endOf, frame, openRaw } from '../support/raw-grpc.js';
import { FRAME, RawConnection, type RawConnectionOptions } from '../support/raw-http2.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/small-server.js';

const WATCH_PATH = '/grpc.health.v1.Health/Watch';
const CHECK_PATH = '/grpc.health.v1.Health/Check';
/** `HealthCheckRequest` for the whole server. */
const EMPTY = frame(Buffer.alloc(0));
const MAX_CONNECTIONS = 2;

describe('a connection', function () {
  this.timeout(30_000);
  let models: ModelsFolder;
  let folder: string;
  let ca: string;
  let plain: RunningServer;
  let tls: RunningServer;
  let impatient: RunningServer;
  const open: RawConnection[] = [];

  before(async () => {
    models = await smallModels();
    folder = await mkdtemp(join(tmpdir(), 'salad-lifecycle-'));
    const authority = await makeAuthority();
    ca = authority.certificate;
    const own = await authority.issue({ commonName: 'salad' });
    const [tlsCertFile, tlsKeyFile] = [join(folder, 'a.pem'), join(folder, 'a.key')];
    await writeFile(tlsCertFile, own.certificate);
    await writeFile(tlsKeyFile, own.privateKey);
    const flags = { connectTimeoutMs: 400, maxConnections: MAX_CONNECTIONS };
    plain = await startSmall(models.path, flags);
    tls = await startSmall(models.path, { ...flags, tlsCertFile, tlsKeyFile });
    impatient = await startSmall(models.path, { ...flags, keepaliveMs: 150, keepaliveTimeoutMs: 250 });
  });
  after(async () => {
    for (const { socket } of open) socket.destroy();
    await plain.stop(0);
    await tls.stop(0);
    await impatient.stop(0);
    await models.remove();
    await rm(folder, { recursive: true });
  });

  const connect = async (server: RunningServer, options: RawConnectionOptions = {}) => {
    const connection = await RawConnection.connect(server.address, options);
    open.push(connection);
    return connection;
  };
  /** As many clients as may connect at once are served: no connection before this holds a place. */
  const assertAllPlacesFree = async (server: RunningServer) => {
    const clients = Array.from(
      { length: MAX_CONNECTIONS },
      () => new SaladClient(server.address, { ...(server === tls ? { tls: { ca } } : {}), retry: false }),
    );
    try {
      const scored = clients.map((client) =>
        client.scoreAcquisition(smallHeader('place'), smallRows(smallImage(1))),
      );
      for (const { coverage } of await Promise.all(scored)) assert.equal(coverage?.scored, 64);
    } finally {
      for (const client of clients) client.close();
    }
  };

  for (const over of ['TCP', 'TLS'] as const) {
    it(`with metadata above 64 KiB is closed at once, its other calls with it (${over})`, async () => {
      const server = over === 'TLS' ? tls : plain;
      const connection = await connect(server, over === 'TLS' ? { ca } : {});
      connection.request(1);
      connection.data(1, frame(encode(header())));
      await connection.seen(({ type, stream }) => type === FRAME.headers && stream === 1);
      const started = performance.now();
      connection.request(3, CHECK_PATH, { 'x-big': 'a'.repeat(100 * 1024) });
      await connection.closed();
      assert.ok(performance.now() - started < 5000);
      await assertAllPlacesFree(server);
    });
  }

  it('is told how much metadata a call may have, so that clients refuse more by themselves', async () => {
    const connection = await connect(plain);
    const { payload } = await connection.seen(({ type, flags }) => type === FRAME.settings && flags === 0);
    const settings = new Map<number, number>();
    for (let at = 0; at < payload.byteLength; at += 6) {
      settings.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
    }
    assert.equal(settings.get(6), 65_535);
    connection.socket.destroy();
  });

  it('with any other connection error is closed, too', async () => {
    const connection = await connect(plain);
    connection.request(1, WATCH_PATH);
    connection.data(1, EMPTY, true);
    // More than the connection's window can hold: FLOW_CONTROL_ERROR.
    const increment = Buffer.alloc(4);
    increment.writeUInt32BE(2 ** 31 - 1);
    connection.send(FRAME.windowUpdate, 0, 0, increment);
    connection.send(FRAME.windowUpdate, 0, 0, increment);
    await connection.closed();
    await assertAllPlacesFree(plain);
  });

  it('that says nothing is closed', async () => {
    const connection = await RawConnection.open(plain.address);
    open.push(connection);
    await connection.closed();
  });

  it('whose client vanished is closed, a call that never ends on it or not', async () => {
    const connections = [
      await connect(impatient, { answersPings: false }),
      await connect(impatient, { answersPings: false }),
    ];
    connections[0]?.request(1, WATCH_PATH);
    connections[0]?.data(1, EMPTY, true);
    for (const connection of connections) await connection.closed();
    await assertAllPlacesFree(impatient);
  });

  it('whose client answers pings stays open', async () => {
    const connection = await connect(impatient);
    connection.request(1, WATCH_PATH);
    connection.data(1, EMPTY, true);
    const isPing = ({ type, flags }: { type: number; flags: number }) => type === FRAME.ping && flags === 0;
    const closed = connection.closed().then(() => 'closed');
    while (connection.frames.filter(isPing).length < 5) {
      assert.equal(await Promise.race([closed, sleep(20)]), undefined);
    }
    connection.socket.destroy();
  });
});

describe('a connection that the server ends', function () {
  this.timeout(30_000);
  let models: ModelsFolder;
  let server: RunningServer;
  const open: RawConnection[] = [];

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path, { connectionIdleMs: 200, idleTimeoutMs: 500, maxConnections: 1 });
  });
  after(async () => {
    for (const { socket } of open) socket.destroy();
    await server.stop(0);
    await models.remove();
  });

  it('is closed, its place is free, though the client holds its half open', async () => {
    const connection = await RawConnection.connect(server.address, { keepsHalfOpen: true });
    open.push(connection);
    const isGoaway = ({ type }: { type: number }) => type === FRAME.goaway;
    const { payload } = await connection.seen(isGoaway);
    // The first one announces the end and refuses nothing.
    assert.deepEqual([payload.readUInt32BE(0), payload.readUInt32BE(4)], [2 ** 31 - 1, 0]);
    // The client sees nothing of the end: its side is open, and it sends nothing.
    const giveUp = performance.now() + 10_000;
    let next: RawConnection | undefined;
    while (next === undefined) {
      assert.ok(performance.now() < giveUp, 'the place was never free');
      next = await RawConnection.connect(server.address).catch(() => undefined);
      await sleep(20);
    }
    open.push(next);
    assert.ok(connection.frames.filter(isGoaway).length >= 2);
    assert.equal(connection.socket.destroyed, false);
  });
});

describe('an old connection', function () {
  this.timeout(30_000);
  const AGE_MS = 500;
  let models: ModelsFolder;
  let server: RunningServer;

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path, { connectionMaxAgeMs: AGE_MS });
  });
  after(async () => {
    await server.stop(0);
    await models.remove();
  });

  /** When GOAWAY came, after the connection was made. */
  const goawayAt = async (session: ClientHttp2Session, started: number) => {
    await once(session, 'goaway');
    return performance.now() - started;
  };

  // Clients of grpc-js below our own lose their calls at the next keepalive after a GOAWAY.
  it('gets GOAWAY when no call runs on it, at twice its age at the latest', async () => {
    const started = performance.now();
    const [idle, briefly, always] = await Promise.all([1, 2, 3].map(() => connectRaw(server.address)));
    const ages = Promise.all([idle, briefly, always].map((session) => goawayAt(session as never, started)));
    const [brief, endless] = [openRaw(briefly as never), openRaw(always as never)];
    for (const stream of [brief, endless]) stream.write(frame(encode(header())));
    const BRIEF_MS = 1.3 * AGE_MS;
    setTimeout(() => brief.close(8), BRIEF_MS);
    const [ofIdle = 0, ofBrief = 0, ofAlways = 0] = await ages;
    assert.ok(ofIdle >= 0.9 * AGE_MS, `${ofIdle}`);
    assert.ok(ofBrief >= BRIEF_MS, `${ofBrief}`);
    assert.ok(ofAlways >= 1.8 * AGE_MS, `${ofAlways}`);
    assert.ok(ofIdle < ofBrief && ofBrief < ofAlways, `${ofIdle}, ${ofBrief}, ${ofAlways}`);
    endless.close(8);
    for (const session of [idle, briefly, always]) session?.destroy();
  });
});

describe('the end of a server', function () {
  this.timeout(30_000);
  let models: ModelsFolder;

  before(async () => {
    models = await smallModels();
  });
  after(() => models.remove());

  it('comes soon after the last acquisition, whatever else its clients hold open', async () => {
    const server = await startSmall(models.path, { healthListen: '127.0.0.1:0' });
    const options = { keepsHalfOpen: true, answersPings: false };
    const silent = await RawConnection.open(server.address, options);
    const idle = await RawConnection.connect(server.address, options);
    const watching = await RawConnection.connect(server.address, options);
    watching.request(1, WATCH_PATH);
    watching.data(1, EMPTY, true);
    await watching.seen(({ type, stream }) => type === FRAME.headers && stream === 1);
    watching.request(3, '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo');
    const probe = await RawConnection.connect(`127.0.0.1:${server.healthPort}`, options);
    probe.request(1, WATCH_PATH);
    probe.data(1, EMPTY, true);
    for (const { socket } of [idle, watching]) socket.pause();
    const started = performance.now();
    await server.stop(20_000);
    assert.ok(performance.now() - started < 10_000, 'the grace is for acquisitions');
    for (const { socket } of [silent, idle, watching, probe]) socket.destroy();
  });

  it('tells a client that watches its health', async () => {
    const server = await startSmall(models.path);
    const session = await connectRaw(server.address);
    const watch = openRaw(session, WATCH_PATH);
    watch.end(EMPTY);
    await once(watch, 'response');
    const ended = endOf(watch);
    await server.stop(20_000);
    const end = await ended;
    assert.deepEqual([end.status, end.reason], [status.UNAVAILABLE, 'DRAINING']);
    session.destroy();
  });
});
