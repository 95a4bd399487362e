import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { compressionAlgorithms, credentials, status } from '@grpc/grpc-js';
import { after, afterEach, before, describe, it } from 'mocha';
import sharp from 'sharp';
import { SaladClient, type SaladClientError } from '../../clients/typescript/src/index.js';
import { AnomalyScoringClient } from '../../src/gen/salad/v1/anomaly_scoring.js';
import type { RunningServer } from '../../src/server/server.js';
import { makeAuthority } from '../support/certificates.js';
import { collect, header, refusal } from '../support/grpc-client.js';
import { connectRaw, encode, endOf, frame, openRaw } from '../support/raw-grpc.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/small-server.js';

const IMAGE_PATH = '/salad.v1.AnomalyScoring/ScoreImage';
const HEALTH_PATH = '/grpc.health.v1.Health/Check';
const rows = smallRows(smallImage(2));

describe('what one client may hold of the port', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: RunningServer | undefined;
  const sessions: ClientHttp2Session[] = [];
  const clients: SaladClient[] = [];

  before(async () => {
    models = await smallModels();
  });
  after(() => models.remove());
  afterEach(async () => {
    for (const session of sessions.splice(0)) session.destroy();
    for (const client of clients.splice(0)) client.close();
    await server?.stop(0);
    server = undefined;
  });

  const start = async (flags: Record<string, unknown>) => {
    server = await startSmall(models.path, flags);
    return server;
  };
  const raw = async () => {
    const session = await connectRaw(server!.address);
    sessions.push(session);
    return session;
  };
  const clientOf = () => {
    const client = new SaladClient(server!.address, { retry: false });
    clients.push(client);
    return client;
  };
  /** The HTTP/2 error code of the GOAWAY that ends the session. */
  const goawayOf = (session: ClientHttp2Session) =>
    new Promise<number>((resolve) => session.once('goaway', resolve));
  const isServing = async () => {
    const result = await clientOf().scoreAcquisition(smallHeader('still there'), rows);
    assert.equal(result.coverage?.scored, 64);
  };

  it('connections: one too many is closed, and has its place once another left', async () => {
    const running = await start({ maxConnections: 2 });
    const [first] = [await raw(), await raw()];
    const third = connectTcp(running.port, '127.0.0.1');
    third.on('error', () => {});
    await once(third, 'close');
    first?.destroy();
    for (let tries = 0; ; tries++) {
      try {
        await isServing();
        break;
      } catch (error) {
        if (tries > 100) throw error;
        await sleep(50);
      }
    }
  });

  it('connections to the health port: one too many is closed', async () => {
    const running = await start({ healthListen: '127.0.0.1:0' });
    for (let index = 0; index < 64; index++) {
      sessions.push(await connectRaw(`127.0.0.1:${running.healthPort}`));
    }
    const late = connectTcp(running.healthPort ?? 0, '127.0.0.1');
    late.on('error', () => {});
    await once(late, 'close');
    await isServing();
  });

  it('streams of a connection: it is told how many', async () => {
    await start({ maxConcurrentAcquisitions: 70 });
    const session = connectHttp2(`http://${server?.address}`);
    sessions.push(session);
    const [settings] = await once(session, 'remoteSettings');
    assert.equal(settings.maxConcurrentStreams, 140);
  });

  it('time: a handshake that does not come', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'salad-handshake-'));
    try {
      const own = await (await makeAuthority()).issue({ commonName: 'salad' });
      const [tlsCertFile, tlsKeyFile] = [join(folder, 'a.pem'), join(folder, 'a.key')];
      await writeFile(tlsCertFile, own.certificate);
      await writeFile(tlsKeyFile, own.privateKey);
      const running = await start({ tlsCertFile, tlsKeyFile, connectTimeoutMs: 50 });
      const socket = connectTcp(running.port, '127.0.0.1');
      socket.on('error', () => {});
      socket.resume();
      await once(socket, 'close');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('time: a first message that does not come, or comes drop by drop', async () => {
    await start({ headerTimeoutMs: 100, requestTimeoutMs: 100, idleTimeoutMs: 20_000 });
    const session = await raw();
    const silent = endOf(openRaw(session));
    const dripping = openRaw(session, IMAGE_PATH);
    const drips = setInterval(() => dripping.write(Buffer.alloc(1)), 10);
    dripping.write(frame(Buffer.alloc(1), 1_000_000));
    const health = endOf(openRaw(session, HEALTH_PATH));
    const ends = await Promise.all([silent, endOf(dripping), health]);
    clearInterval(drips);
    assert.deepEqual(
      ends.map((end) => end.status),
      [status.DEADLINE_EXCEEDED, status.DEADLINE_EXCEEDED, status.DEADLINE_EXCEEDED],
    );
  });

  it('time: after the header another limit counts', async () => {
    await start({ headerTimeoutMs: 100, idleTimeoutMs: 20_000 });
    const stream = openRaw(await raw());
    stream.write(frame(encode(header())));
    const ended = endOf(stream);
    const first = await Promise.race([ended, sleep(500).then(() => 'still open')]);
    assert.equal(first, 'still open');
  });

  it('time: whoever has a status and sends on loses the stream', async () => {
    await start({ idleTimeoutMs: 200 });
    const stream = openRaw(await raw());
    let answered: number | undefined;
    stream.on('response', (headers) => {
      answered = Number(headers['grpc-status']);
    });
    stream.resume();
    // No header comes first: refused with the first message.
    const sending = setInterval(
      () => stream.writable && stream.write(frame(encode({ $case: 'end', value: {} }))),
      10,
    );
    await once(stream, 'close');
    clearInterval(sending);
    assert.equal(answered, status.INVALID_ARGUMENT);
    assert.equal(stream.rstCode, constants.NGHTTP2_NO_ERROR);
    await isServing();
  });

  it('idle connections get GOAWAY, those with a call do not', async () => {
    await start({ connectionIdleMs: 200 });
    const [idle, busy] = [await raw(), await raw()];
    const stream = openRaw(busy);
    stream.write(frame(encode(header())));
    const gone = goawayOf(idle);
    let busyGone = false;
    void goawayOf(busy).then(() => {
      busyGone = true;
    });
    assert.equal(await gone, constants.NGHTTP2_NO_ERROR);
    await sleep(200);
    assert.equal(busyGone, false);
    stream.close();
  });

  it('old connections get GOAWAY, and the acquisition on them ends well', async () => {
    await start({ connectionMaxAgeMs: 300 });
    const watcher = await raw();
    const gone = goawayOf(watcher);
    const client = clientOf();
    const result = client.scoreAcquisition(smallHeader('old'), async function* () {
      yield* rows.slice(0, 4);
      await gone;
      await sleep(200);
      yield* rows.slice(4);
    });
    assert.equal((await result).coverage?.scored, 64);
    assert.equal(await gone, constants.NGHTTP2_NO_ERROR);
  });

  it('pings for nothing end the connection; a few, and those beside answers, do not', async () => {
    await start({ minPingIntervalMs: 60_000 });
    const ping = (session: ClientHttp2Session) =>
      new Promise<boolean>((resolve) => {
        if (session.destroyed || !session.ping((error) => resolve(error === null))) resolve(false);
      });
    const noisy = await raw();
    const gone = goawayOf(noisy);
    let answered = 0;
    while (answered < 50 && (await ping(noisy))) answered += 1;
    assert.equal(await gone, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    assert.ok(answered >= 2 && answered <= 4, `${answered} pings were answered`);

    const polite = await raw();
    for (let index = 0; index < 10; index++) {
      const stream = openRaw(polite, '/salad.v1.ModelRegistry/List');
      stream.end(frame(Buffer.alloc(0)));
      assert.equal((await endOf(stream)).status, status.OK);
      assert.equal(await ping(polite), true, `ping ${index}`);
    }
  });

  it('headers: more than 64 KiB of them end the stream or the connection', async () => {
    await start({});
    const session = connectHttp2(`http://${server?.address}`, { maxSendHeaderBlockLength: 4_000_000 });
    session.on('error', () => {});
    sessions.push(session);
    const many = Object.fromEntries(
      Array.from({ length: 100 }, (_, index) => [`x-${index}`, 'x'.repeat(10_000)]),
    );
    const stream = session.request({
      ':method': 'POST',
      ':path': HEALTH_PATH,
      'content-type': 'application/grpc',
      ...many,
    });
    stream.on('error', () => {});
    const end = await endOf(stream);
    assert.equal(end.status, undefined);
    assert.notEqual(end.rstCode, constants.NGHTTP2_NO_ERROR);
    await isServing();
  });

  it('streams opened and reset as fast as they go end the connection, not the server', async () => {
    await start({ peerCallsPerSecond: 0 });
    const session = await raw();
    const gone = goawayOf(session);
    for (let index = 0; index < 4000 && !session.destroyed && !session.closed; index++) {
      openRaw(session).close(constants.NGHTTP2_CANCEL);
      if (index % 100 === 0) await sleep(1);
    }
    assert.notEqual(await gone, constants.NGHTTP2_NO_ERROR);
    await isServing();
  });

  it('pixels: a small file with a large image is refused before it is decompressed', async () => {
    await start({ maxAcquisitionBytes: 20 * 1024 * 1024, maxImagePixels: 20_000_000 });
    const flat = (side: number) =>
      sharp({ create: { width: side, height: side, channels: 3, background: '#000' } })
        .toColourspace('b-w')
        .png()
        .toBuffer();
    const score = (encoded: Buffer) =>
      clientOf().scoreImage({ ...smallHeader('bomb'), image: undefined }, { encoded });
    const refusedAs = (reason: string) => (error: SaladClientError) => {
      assert.deepEqual([error.status, error.reason], ['RESOURCE_EXHAUSTED', reason], error.message);
      return true;
    };
    await assert.rejects(score(await flat(5000)), refusedAs('IMAGE_TOO_LARGE'));
    // 16 MB would fit; what libvips needs beside them would not, however often it is tried.
    await assert.rejects(score(await flat(4000)), refusedAs('IMAGE_TOO_LARGE'));
    assert.equal(server?.registry.budget.bytes, 0);
    const raw = { raw: { width: 64, height: 64, channels: 1 } } as const;
    assert.equal((await score(await sharp(smallImage(2), raw).png().toBuffer())).coverage?.scored, 64);
    assert.equal(server?.registry.budget.bytes, 0);
  });

  it('bytes: a compressed message is measured as it unfolds', async () => {
    const running = await start({ maxMessageBytes: 1024 * 1024 });
    const client = new AnomalyScoringClient(running.address, credentials.createInsecure(), {
      'grpc.default_compression_algorithm': compressionAlgorithms.gzip,
      'grpc.max_send_message_length': -1,
    });
    const bomb = { $case: 'raw' as const, value: new Uint8Array(64 * 1024 * 1024) };
    const call = client.scoreImage({ header: undefined, image: bomb });
    const { code } = await refusal(collect(call));
    client.close();
    assert.equal(code, status.RESOURCE_EXHAUSTED);
    await isServing();
  });
});
