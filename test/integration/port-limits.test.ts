import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, constants } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import { describe, it } from 'mocha';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { ScoreImageRequest } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { ModelRegistryGetRequest } from '../../src/gen/salad/v1/model_registry.js';
import { AcquisitionHeader, Source } from '../../src/gen/salad/v1/types.js';
import { startTcpProxy } from '../support/network/tcp-proxy.js';
import { encode, endOf, frame, openRaw, type RawEnd, STREAM_PATH } from '../support/protocol/raw-grpc.js';
import { FRAME, RawConnection } from '../support/protocol/raw-http2.js';
import { smallHeader, smallImage, smallRows } from '../support/servers/small-server.js';
import { useSmallServer } from '../support/servers/small-server-hooks.js';

const HEALTH = '/grpc.health.v1.Health/Check';
const WATCH = '/grpc.health.v1.Health/Watch';
const LIST = '/salad.v1.ModelRegistry/List';
const GET = '/salad.v1.ModelRegistry/Get';
const REFLECTION = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
const IMAGE = '/salad.v1.AnomalyScoring/ScoreImage';
const MIB = 1024 * 1024;
const rows = smallRows(smallImage(2));

describe('limits of a peer before its calls reach a handler', function () {
  this.timeout(60_000);
  const small = useSmallServer();
  const { start, closeAfterTest } = small;
  const raw = (localAddress = '127.0.0.2') => small.raw({ localAddress });
  /** Sends a call with this message. @returns how the server ends it */
  const call = async (
    session: ClientHttp2Session,
    path: string,
    message: Buffer,
    headers: Record<string, string> = {},
  ): Promise<RawEnd> => {
    const stream = openRaw(session, path, headers);
    const end = endOf(stream);
    stream.end(message);
    return end;
  };
  /** Scores an image of another address meanwhile. */
  const assertServes = async () => {
    const { port } = small.server;
    const proxy = await startTcpProxy({ host: '127.0.0.1', port, localAddress: '127.0.0.9' });
    const client = new SaladClient(proxy.address, { retry: false });
    try {
      const result = await client.scoreAcquisition(smallHeader('good'), rows, { timeoutMs: 20_000 });
      assert.equal(result.coverage?.scored, 64);
    } finally {
      client.close();
      await proxy.close();
    }
  };
  const outcomesOf = (ends: readonly RawEnd[]) => ends.map((end) => [status[end.status ?? -1], end.reason]);

  it('refuses large and compressed messages for methods whose requests contain only names', async () => {
    await start();
    const session = await raw();
    const large = frame(Buffer.alloc(4097));
    const compressed = frame(gzipSync(Buffer.alloc(0)), undefined, true);
    const gzip = { 'grpc-encoding': 'gzip' };
    for (const path of [HEALTH, WATCH, LIST, GET, REFLECTION]) {
      const ends = [await call(session, path, large), await call(session, path, compressed, gzip)];
      assert.deepEqual(
        outcomesOf(ends),
        [
          ['RESOURCE_EXHAUSTED', 'MESSAGE_TOO_LARGE'],
          ['UNIMPLEMENTED', 'UNIMPLEMENTED'],
        ],
        path,
      );
    }
    assert.equal((await call(session, HEALTH, frame(Buffer.alloc(0)))).status, status.OK);
  });

  it('refuses a first message that is larger than any header, by its announced length', async () => {
    await start();
    const session = await raw();
    const stream = openRaw(session);
    const end = endOf(stream);
    stream.write(frame(Buffer.alloc(0), 600_000));
    assert.deepEqual(outcomesOf([await end]), [['RESOURCE_EXHAUSTED', 'MESSAGE_TOO_LARGE']]);
    const compressed = frame(gzipSync(Buffer.alloc(8 * MIB)), undefined, true);
    assert.deepEqual(
      outcomesOf([await call(session, STREAM_PATH, compressed, { 'grpc-encoding': 'gzip' })]),
      [['RESOURCE_EXHAUSTED', 'MESSAGE_TOO_LARGE']],
    );
    await assertServes();
  });

  it('refuses a message of millions of empty fields, and invalid or unknown encodings', async () => {
    await start();
    const session = await raw();
    const emptyTiles = Buffer.alloc(4_000_000);
    for (let at = 0; at < emptyTiles.length; at += 2) emptyTiles[at] = 10;
    // A tiles message of that length: tag, length, content.
    const tiles = Buffer.concat([Buffer.from([26, 0x80, 0x92, 0xf4, 0x01]), emptyTiles]);
    const header = frame(
      encode({
        $case: 'header',
        value: AcquisitionHeader.fromPartial({ ...smallHeader('t'), source: Source.SOURCE_TILES }),
      }),
    );
    const ends = [
      await call(session, STREAM_PATH, Buffer.concat([header, frame(tiles)])),
      await call(session, STREAM_PATH, frame(Buffer.from([10, 200]))),
      await call(session, STREAM_PATH, frame(Buffer.from('no gzip'), undefined, true), {
        'grpc-encoding': 'gzip',
      }),
      await call(session, STREAM_PATH, frame(Buffer.from('?'), undefined, true), {
        'grpc-encoding': `x${'y'.repeat(5000)}`,
      }),
    ];
    assert.deepEqual(outcomesOf(ends), [
      ['INVALID_ARGUMENT', 'MESSAGE_INVALID'],
      ['INVALID_ARGUMENT', 'MESSAGE_INVALID'],
      ['INVALID_ARGUMENT', 'MESSAGE_INVALID'],
      ['UNIMPLEMENTED', 'UNIMPLEMENTED'],
    ]);
    await assertServes();
  });

  it('scores an image whose messages are compressed', async () => {
    await start();
    const session = await raw();
    const messages = [
      encode({ $case: 'header', value: AcquisitionHeader.fromPartial(smallHeader('compressed')) }),
      encode({ $case: 'rows', value: { firstRow: 0, samples: smallImage(2) } }),
      encode({ $case: 'end', value: { crc32c: undefined } }),
    ].map((message) => frame(gzipSync(message), undefined, true));
    const end = await call(session, STREAM_PATH, Buffer.concat(messages), { 'grpc-encoding': 'gzip' });
    assert.equal(end.status, status.OK);
  });

  it('makes messages wait where their peer has used its share of the memory, not those of other peers', async () => {
    await start({ maxReceivedBytes: 3 * MIB, maxMessageBytes: 2 * MIB, requestTimeoutMs: 30_000 });
    const session = await raw();
    const image = ScoreImageRequest.encode({
      header: AcquisitionHeader.fromPartial({
        ...smallHeader('incomplete'),
        image: { rows: 1200, columns: 1200, bitsAllocated: 8 },
      }),
      image: { $case: 'raw', value: new Uint8Array(1200 * 1200) },
    }).finish();
    const message = frame(image);
    const incomplete = Array.from({ length: 5 }, () => openRaw(session, IMAGE));
    const ends = incomplete.map((stream) => endOf(stream));
    // All but the last byte, so that no memory is released.
    for (const stream of incomplete) stream.write(message.subarray(0, -1));
    await assertServes();
    for (const stream of incomplete) stream.end(message.subarray(-1));
    // They are all scored, one after another.
    assert.deepEqual(new Set((await Promise.all(ends)).map((end) => end.status)), new Set([status.OK]));
  });

  it('limits the open calls of one address to half of all', async () => {
    await start({ maxConcurrentAcquisitions: 8, headerTimeoutMs: 30_000, idleTimeoutMs: 30_000 });
    const session = await raw();
    const streams = Array.from({ length: 8 }, () => openRaw(session));
    const ends = await Promise.all(streams.slice(5).map((stream) => endOf(stream)));
    assert.deepEqual(outcomesOf(ends), new Array(3).fill(['RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED']));
    assert.ok(streams.slice(0, 5).every((stream) => !stream.closed));
    await assertServes();
  });

  it('limits the connections of one address to half of all', async () => {
    const { port } = await start({ maxConnections: 8 });
    const sockets: Socket[] = [];
    const closed: Socket[] = [];
    for (let index = 0; index < 8; index++) {
      const socket = connectTcp({ host: '127.0.0.1', port, localAddress: '127.0.0.2' });
      socket.on('error', () => {});
      socket.on('close', () => closed.push(socket));
      socket.resume();
      await once(socket, 'connect');
      sockets.push(socket);
      closeAfterTest(() => socket.destroy());
    }
    while (closed.length < 3) await nextTurn();
    assert.deepEqual(closed, sockets.slice(5));
    await assertServes();
  });

  it('refuses calls above the rate, and closes the connections of a peer that continues', async () => {
    await start({ peerCallsPerSecond: 20 });
    const session = await raw();
    const goaway = new Promise<number>((resolve) => session.once('goaway', resolve));
    const callOften = (count: number) =>
      Array.from({ length: count }, () => call(session, LIST, frame(Buffer.alloc(0))));
    // The connection counts as four calls of the ten that may come at once; ten more are refused.
    const ends = await Promise.all(callOften(12));
    const reasons = outcomesOf(ends).map(([code, reason]) => reason ?? code);
    assert.ok(reasons.includes('OK') && reasons.includes('QUOTA_EXCEEDED'), reasons.join());
    // The answers of these may be lost with the connection.
    void Promise.all(callOften(60));
    assert.equal(await goaway, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    if (!session.destroyed) await once(session, 'close');
    // The next connection of this address is closed at once; other addresses are served.
    const next = connectTcp({ host: '127.0.0.1', port: small.server.port, localAddress: '127.0.0.2' });
    next.on('error', () => {});
    next.resume();
    await once(next, 'close');
    await assertServes();
  });

  it('closes the connection while further streams with data of the same network read are processed', async () => {
    await start({ peerCallsPerSecond: 20 });
    const connection = await RawConnection.connect(small.server.address);
    connection.socket.cork();
    for (let stream = 1; stream < 400; stream += 2) {
      connection.request(stream, LIST);
      connection.data(stream, Buffer.alloc(4));
    }
    connection.socket.uncork();
    await connection.closed();
    assert.ok(connection.frames.some(({ type }) => type === FRAME.goaway));
    await assertServes();
  });

  it('does not repeat long texts of a caller in its answers', async () => {
    await start();
    const session = await raw();
    const long = 'n'.repeat(3000);
    const get = ModelRegistryGetRequest.encode({ model: { name: long, version: undefined } }).finish();
    const header = AcquisitionHeader.fromPartial({ ...smallHeader('x'), model: { name: long } });
    const unknown = AcquisitionHeader.fromPartial({ ...smallHeader('x'), model: { name: 'no\nsuch' } });
    const ends = [
      await call(session, GET, frame(get)),
      await call(session, STREAM_PATH, frame(encode({ $case: 'header', value: header }))),
      await call(session, STREAM_PATH, frame(encode({ $case: 'header', value: unknown }))),
      await call(session, `/${'p'.repeat(20_000)}/M`, frame(Buffer.alloc(0))),
      await call(session, HEALTH, frame(Buffer.concat([Buffer.from([10, 0xb8, 0x17]), Buffer.from(long)]))),
      await call(session, LIST, frame(Buffer.alloc(0)), { 'grpc-timeout': '9'.repeat(5000) }),
    ];
    assert.deepEqual(
      ends.map((end) => status[end.status ?? -1]),
      ['INVALID_ARGUMENT', 'INVALID_ARGUMENT', 'NOT_FOUND', 'UNIMPLEMENTED', 'NOT_FOUND', 'INVALID_ARGUMENT'],
    );
    for (const { message, details } of ends) {
      assert.ok((message?.length ?? 0) < 300 && (details?.byteLength ?? 0) < 600, message);
    }
    assert.match(ends[2]?.message ?? '', /model no\u{FFFD}such is not loaded/u);
  });

  it('reduces the windows of clients while many streams are open, and restores them afterwards', async () => {
    await start({ headerTimeoutMs: 30_000, peerShareRatio: 0 });
    const session = await raw();
    const windowIs = async (bytes: number) => {
      while (session.remoteSettings.initialWindowSize !== bytes) await once(session, 'remoteSettings');
    };
    await windowIs(4 * MIB);
    const streams = Array.from({ length: 200 }, () => openRaw(session));
    await windowIs(MIB / 2);
    for (const stream of streams) stream.close();
    await windowIs(4 * MIB);
    await assertServes();
  });
});
