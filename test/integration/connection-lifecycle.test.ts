import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { ClientHttp2Session } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { after, before, describe, it } from 'mocha';
import { SaladClient } from '../../clients/typescript/src/index.js';
import type { RunningServer } from '../../src/server/server.js';
import { eventually } from '../support/eventually.js';
import { makeAuthority } from '../support/network/certificates.js';
import { header } from '../support/protocol/grpc-client.js';
import { connectRaw, encode, endOf, frame, openRaw } from '../support/protocol/raw-grpc.js';
import {
  FRAME,
  type Frame,
  RawConnection,
  type RawConnectionOptions,
} from '../support/protocol/raw-http2.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/servers/small-server.js';

const WATCH_PATH = '/grpc.health.v1.Health/Watch';
const CHECK_PATH = '/grpc.health.v1.Health/Check';
/** `HealthCheckRequest` for the whole server. */
const EMPTY_REQUEST = frame(Buffer.alloc(0));
const MAX_CONNECTIONS = 2;
const ACK = 1;
const END_HEADERS = 4;
/** Start of a header field (RFC 7541, 6.2.2) whose name has 100,000 bytes. */
const LONG_NAME = Buffer.from([0, 127, 0xa1, 0x8c, 0x06]);

const isPing = ({ type, flags }: Frame) => type === FRAME.ping && flags === 0;

describe('a connection', function () {
  this.timeout(30_000);
  let models: ModelsFolder;
  let folder: string;
  let ca: string;
  let plain: RunningServer;
  let tls: RunningServer;
  let shortKeepalive: RunningServer;
  const connections: RawConnection[] = [];

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
    shortKeepalive = await startSmall(models.path, { ...flags, keepaliveMs: 150, keepaliveTimeoutMs: 250 });
  });
  after(async () => {
    for (const { socket } of connections) socket.destroy();
    await plain.stop(0);
    await tls.stop(0);
    await shortKeepalive.stop(0);
    await models.remove();
    await rm(folder, { recursive: true });
  });

  const connect = async (server: RunningServer, options: RawConnectionOptions = {}) => {
    const connection = await RawConnection.connect(server.address, options);
    connections.push(connection);
    return connection;
  };
  /** Serves as many clients as may connect at once: no earlier connection counts any more. */
  const assertServesAllClients = async (server: RunningServer) => {
    const clients = Array.from(
      { length: MAX_CONNECTIONS },
      () => new SaladClient(server.address, { ...(server === tls ? { tls: { ca } } : {}), retry: false }),
    );
    try {
      const scored = clients.map((client) =>
        client.scoreAcquisition(smallHeader('client'), smallRows(smallImage(1))),
      );
      for (const { coverage } of await Promise.all(scored)) assert.equal(coverage?.scored, 64);
    } finally {
      for (const client of clients) client.close();
    }
  };

  for (const transport of ['TCP', 'TLS'] as const) {
    it(`is closed at once where a call has metadata above 64 KiB (${transport})`, async () => {
      const server = transport === 'TLS' ? tls : plain;
      const connection = await connect(server, transport === 'TLS' ? { ca } : {});
      connection.request(1);
      connection.data(1, frame(encode(header())));
      await connection.seen(({ type, stream }) => type === FRAME.headers && stream === 1);
      const started = performance.now();
      connection.request(3, CHECK_PATH, { 'x-big': 'a'.repeat(100 * 1024) });
      await connection.closed();
      assert.ok(performance.now() - started < 5000);
      await assertServesAllClients(server);
    });
  }

  it('is closed at once where such metadata follows a ping of the server, whose answer is then never read', async () => {
    const connection = await connect(tls, { ca, answersPings: false });
    await connection.seen(isPing);
    const started = performance.now();
    connection.request(1, CHECK_PATH, { 'x-big': 'a'.repeat(100 * 1024) });
    await connection.closed();
    assert.ok(performance.now() - started < 5000);
  });

  it('is closed at once after such an error that is read together with the answer to a ping', async () => {
    const connection = await connect(tls, { ca, answersPings: false });
    const { payload } = await connection.seen(isPing);
    const started = performance.now();
    connection.socket.cork();
    connection.send(FRAME.ping, ACK, 0, payload);
    connection.send(FRAME.headers, END_HEADERS, 1, LONG_NAME);
    connection.socket.uncork();
    await connection.closed();
    assert.ok(performance.now() - started < 5000);
  });

  it('announces the limit of metadata in its SETTINGS, so that clients refuse larger metadata themselves', async () => {
    const connection = await connect(plain);
    const { payload } = await connection.seen(({ type, flags }) => type === FRAME.settings && flags === 0);
    const settings = new Map<number, number>();
    for (let at = 0; at < payload.byteLength; at += 6) {
      settings.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
    }
    assert.equal(settings.get(6), 65_535);
    connection.socket.destroy();
  });

  it('is closed after any other HTTP/2 connection error', async () => {
    const connection = await connect(plain);
    connection.request(1, WATCH_PATH);
    connection.data(1, EMPTY_REQUEST, true);
    // The connection's window becomes too large: FLOW_CONTROL_ERROR.
    const increment = Buffer.alloc(4);
    increment.writeUInt32BE(2 ** 31 - 1);
    connection.send(FRAME.windowUpdate, 0, 0, increment);
    connection.send(FRAME.windowUpdate, 0, 0, increment);
    await connection.closed();
    await assertServesAllClients(plain);
  });

  it('is closed where the client sends nothing', async () => {
    const connection = await RawConnection.open(plain.address);
    connections.push(connection);
    await connection.closed();
  });

  it('is closed where the client does not answer pings, with or without a running call', async () => {
    const withCall = await connect(shortKeepalive, { answersPings: false });
    const withoutCall = await connect(shortKeepalive, { answersPings: false });
    withCall.request(1, WATCH_PATH);
    withCall.data(1, EMPTY_REQUEST, true);
    for (const connection of [withCall, withoutCall]) await connection.closed();
    await assertServesAllClients(shortKeepalive);
  });

  it('stays open while the client answers pings', async () => {
    const connection = await connect(shortKeepalive);
    connection.request(1, WATCH_PATH);
    connection.data(1, EMPTY_REQUEST, true);
    // Fails where the connection is closed before.
    await connection.until(() => connection.frames.filter(isPing).length >= 5);
    connection.socket.destroy();
  });
});

describe('a connection that the server closes', function () {
  this.timeout(30_000);
  let models: ModelsFolder;
  let server: RunningServer;
  const connections: RawConnection[] = [];

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path, { connectionIdleMs: 200, idleTimeoutMs: 500, maxConnections: 1 });
  });
  after(async () => {
    for (const { socket } of connections) socket.destroy();
    await server.stop(0);
    await models.remove();
  });

  it('no longer counts, although the client keeps its half open', async () => {
    const connection = await RawConnection.connect(server.address, { keepsHalfOpen: true });
    connections.push(connection);
    const isGoaway = ({ type }: { type: number }) => type === FRAME.goaway;
    const { payload } = await connection.seen(isGoaway);
    // The first GOAWAY announces the close and refuses no stream.
    assert.deepEqual([payload.readUInt32BE(0), payload.readUInt32BE(4)], [2 ** 31 - 1, 0]);
    // The client does not close its half and sends nothing.
    await eventually(async () => connections.push(await RawConnection.connect(server.address)));
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

  /** Age of the connection at its GOAWAY, in ms. */
  const ageAtGoaway = async (session: ClientHttp2Session, started: number) => {
    await once(session, 'goaway');
    return performance.now() - started;
  };

  // Clients of plain grpc-js lose their running calls at the next keepalive after a GOAWAY.
  it('gets GOAWAY when no call runs on it, and at twice its age in any case', async () => {
    const started = performance.now();
    const [idle, withShortCall, withEndlessCall] = await Promise.all(
      [1, 2, 3].map(() => connectRaw(server.address)),
    );
    const ages = Promise.all(
      [idle, withShortCall, withEndlessCall].map((session) => ageAtGoaway(session as never, started)),
    );
    const shortCall = openRaw(withShortCall as never);
    const endlessCall = openRaw(withEndlessCall as never);
    for (const stream of [shortCall, endlessCall]) stream.write(frame(encode(header())));
    const SHORT_CALL_MS = 1.3 * AGE_MS;
    setTimeout(() => shortCall.close(8), SHORT_CALL_MS);
    const [idleAge = 0, shortCallAge = 0, endlessCallAge = 0] = await ages;
    assert.ok(idleAge >= 0.9 * AGE_MS, `${idleAge}`);
    assert.ok(shortCallAge >= SHORT_CALL_MS, `${shortCallAge}`);
    assert.ok(endlessCallAge >= 1.8 * AGE_MS, `${endlessCallAge}`);
    assert.ok(
      idleAge < shortCallAge && shortCallAge < endlessCallAge,
      `${idleAge}, ${shortCallAge}, ${endlessCallAge}`,
    );
    endlessCall.close(8);
    for (const session of [idle, withShortCall, withEndlessCall]) session?.destroy();
  });
});

describe('a stopping server', function () {
  this.timeout(30_000);
  let models: ModelsFolder;

  before(async () => {
    models = await smallModels();
  });
  after(() => models.remove());

  it('does not wait for calls and connections other than acquisitions', async () => {
    const server = await startSmall(models.path, { healthListen: '127.0.0.1:0' });
    const options = { keepsHalfOpen: true, answersPings: false };
    const silent = await RawConnection.open(server.address, options);
    const idle = await RawConnection.connect(server.address, options);
    const watching = await RawConnection.connect(server.address, options);
    watching.request(1, WATCH_PATH);
    watching.data(1, EMPTY_REQUEST, true);
    await watching.seen(({ type, stream }) => type === FRAME.headers && stream === 1);
    watching.request(3, '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo');
    const probe = await RawConnection.connect(`127.0.0.1:${server.healthPort}`, options);
    probe.request(1, WATCH_PATH);
    probe.data(1, EMPTY_REQUEST, true);
    for (const { socket } of [idle, watching]) socket.pause();
    const started = performance.now();
    await server.stop(20_000);
    assert.ok(performance.now() - started < 10_000, 'the grace period applies to acquisitions only');
    for (const { socket } of [silent, idle, watching, probe]) socket.destroy();
  });

  it('ends a Watch of its health with DRAINING', async () => {
    const server = await startSmall(models.path);
    const session = await connectRaw(server.address);
    const watch = openRaw(session, WATCH_PATH);
    watch.end(EMPTY_REQUEST);
    await once(watch, 'response');
    const ended = endOf(watch);
    await server.stop(20_000);
    const end = await ended;
    assert.deepEqual([end.status, end.reason], [status.UNAVAILABLE, 'DRAINING']);
    session.destroy();
  });
});
