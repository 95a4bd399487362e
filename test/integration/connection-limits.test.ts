import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { compressionAlgorithms, credentials, status } from '@grpc/grpc-js';
import { describe, it } from 'mocha';
import sharp from 'sharp';
import { SaladClient, type SaladClientError } from '../../clients/typescript/src/index.js';
import { AnomalyScoringClient } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { eventually } from '../support/eventually.js';
import { makeAuthority } from '../support/network/certificates.js';
import {
  collect,
  end as endMessage,
  header,
  refusal,
  rows as rowsMessage,
} from '../support/protocol/grpc-client.js';
import { connectRaw, encode, endOf, frame, openRaw } from '../support/protocol/raw-grpc.js';
import { smallHeader, smallImage, smallRows } from '../support/servers/small-server.js';
import { useSmallServer } from '../support/servers/small-server-hooks.js';

const IMAGE_PATH = '/salad.v1.AnomalyScoring/ScoreImage';
const HEALTH_PATH = '/grpc.health.v1.Health/Check';
const rows = smallRows(smallImage(2));

describe('limits of connections and streams', function () {
  this.timeout(60_000);
  const small = useSmallServer();
  const { start, raw, closeAfterTest } = small;
  const clientOf = () => {
    const client = new SaladClient(small.server.address, { retry: false });
    closeAfterTest(() => client.close());
    return client;
  };
  /** Resolves with the HTTP/2 error code of the session's GOAWAY. */
  const goawayOf = (session: ClientHttp2Session) =>
    new Promise<number>((resolve) => session.once('goaway', resolve));
  const assertServes = async () => {
    const result = await clientOf().scoreAcquisition(smallHeader('served'), rows);
    assert.equal(result.coverage?.scored, 64);
  };

  it('closes a connection above the limit, and accepts one when another has closed', async () => {
    const running = await start({ maxConnections: 2 });
    const [first] = [await raw(), await raw()];
    const third = connectTcp(running.port, '127.0.0.1');
    third.on('error', () => {});
    await once(third, 'close');
    first?.destroy();
    await eventually(assertServes);
  });

  it('closes a connection to the health port above its limit', async () => {
    const running = await start({ healthListen: '127.0.0.1:0' });
    for (let index = 0; index < 64; index++) {
      const session = await connectRaw(`127.0.0.1:${running.healthPort}`);
      closeAfterTest(() => session.destroy());
    }
    const late = connectTcp(running.healthPort ?? 0, '127.0.0.1');
    late.on('error', () => {});
    await once(late, 'close');
    await assertServes();
  });

  it('sends the largest number of streams of a connection in its SETTINGS', async () => {
    await start({ maxConcurrentAcquisitions: 70 });
    const session = connectHttp2(`http://${small.server.address}`);
    closeAfterTest(() => session.destroy());
    const [settings] = await once(session, 'remoteSettings');
    assert.equal(settings.maxConcurrentStreams, 140);
  });

  it('closes a connection without a TLS handshake after connectTimeoutMs', async () => {
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

  it('ends a call whose first message does not come, or comes byte by byte, with DEADLINE_EXCEEDED', async () => {
    await start({ headerTimeoutMs: 100, requestTimeoutMs: 100, idleTimeoutMs: 20_000 });
    const session = await raw();
    const silent = endOf(openRaw(session));
    const slow = openRaw(session, IMAGE_PATH);
    const sending = setInterval(() => slow.write(Buffer.alloc(1)), 10);
    slow.write(frame(Buffer.alloc(1), 1_000_000));
    const health = endOf(openRaw(session, HEALTH_PATH));
    const ends = await Promise.all([silent, endOf(slow), health]);
    clearInterval(sending);
    assert.deepEqual(
      ends.map((end) => end.status),
      [status.DEADLINE_EXCEEDED, status.DEADLINE_EXCEEDED, status.DEADLINE_EXCEEDED],
    );
  });

  it('does not apply headerTimeoutMs to a call after its header', async () => {
    await start({ headerTimeoutMs: 100, idleTimeoutMs: 20_000 });
    const session = await raw();
    const withHeader = openRaw(session);
    const accepted = once(withHeader, 'data');
    withHeader.write(frame(encode(header())));
    await accepted;
    // The time of this call starts later and ends with an event.
    const silent = await endOf(openRaw(session));
    assert.equal(silent.status, status.DEADLINE_EXCEEDED);
    assert.equal(withHeader.closed, false);
  });

  it('resets the stream of a client that continues to send after its status', async () => {
    await start({ idleTimeoutMs: 200 });
    const stream = openRaw(await raw());
    let answeredStatus: number | undefined;
    stream.on('response', (headers) => {
      answeredStatus = Number(headers['grpc-status']);
    });
    stream.resume();
    // The first message is no header, so the call is refused.
    const sending = setInterval(
      () => stream.writable && stream.write(frame(encode({ $case: 'end', value: {} }))),
      10,
    );
    await once(stream, 'close');
    clearInterval(sending);
    assert.equal(answeredStatus, status.INVALID_ARGUMENT);
    assert.equal(stream.rstCode, constants.NGHTTP2_NO_ERROR);
    await assertServes();
  });

  it('sends GOAWAY to idle connections, not to those with a call', async () => {
    await start({ connectionIdleMs: 200 });
    const busy = await raw();
    const stream = openRaw(busy);
    stream.resume();
    stream.write(frame(encode(header())));
    let busyGotGoaway = false;
    void goawayOf(busy).then(() => {
      busyGotGoaway = true;
    });
    // This connection is younger than the other one, so its GOAWAY is not the first one that is due.
    const idle = await raw();
    assert.equal(await goawayOf(idle), constants.NGHTTP2_NO_ERROR);
    // The answer to a ping follows every frame that was sent before it.
    assert.equal(await ping(busy), true);
    assert.equal(busyGotGoaway, false);
    stream.close();
  });

  it('sends GOAWAY to old connections, and finishes the acquisition on them', async () => {
    await start({ connectionMaxAgeMs: 300 });
    const session = await raw();
    const goaway = goawayOf(session);
    const image = smallImage(2);
    const stream = openRaw(session);
    const end = endOf(stream);
    const write = (payload: Parameters<typeof encode>[0]) => stream.write(frame(encode(payload)));
    write(header());
    write(rowsMessage(image, 64, 0, 32));
    assert.equal(await goaway, constants.NGHTTP2_NO_ERROR);
    write(rowsMessage(image, 64, 32, 64));
    write(endMessage());
    assert.equal((await end).status, status.OK);
  });

  it('closes a connection with too many pings; a few, and those between answers, are accepted', async () => {
    await start({ minPingIntervalMs: 60_000 });
    const session = await raw();
    const goaway = goawayOf(session);
    let answered = 0;
    while (answered < 50 && (await ping(session))) answered += 1;
    assert.equal(await goaway, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    assert.ok(answered >= 2 && answered <= 4, `${answered} pings were answered`);

    const served = await raw();
    for (let index = 0; index < 10; index++) {
      const stream = openRaw(served, '/salad.v1.ModelRegistry/List');
      stream.end(frame(Buffer.alloc(0)));
      assert.equal((await endOf(stream)).status, status.OK);
      assert.equal(await ping(served), true, `ping ${index}`);
    }
  });

  it('resets the stream or closes the connection for more than 64 KiB of headers', async () => {
    await start({});
    const session = connectHttp2(`http://${small.server.address}`, { maxSendHeaderBlockLength: 4_000_000 });
    session.on('error', () => {});
    closeAfterTest(() => session.destroy());
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
    await assertServes();
  });

  it('closes a connection whose streams are opened and reset without pause, and serves others', async () => {
    await start({ peerCallsPerSecond: 0 });
    const session = await raw();
    const goaway = goawayOf(session);
    for (let index = 0; index < 4000 && !session.destroyed && !session.closed; index++) {
      openRaw(session).close(constants.NGHTTP2_CANCEL);
      if (index % 100 === 0) await nextTurn();
    }
    assert.notEqual(await goaway, constants.NGHTTP2_NO_ERROR);
    await assertServes();
  });

  it('refuses a small file with a large image before it is decompressed', async () => {
    await start({ maxAcquisitionBytes: 20 * 1024 * 1024, maxImagePixels: 20_000_000 });
    const flat = (side: number) =>
      sharp({ create: { width: side, height: side, channels: 3, background: '#000' } })
        .toColourspace('b-w')
        .png()
        .toBuffer();
    const score = (encoded: Buffer) =>
      clientOf().scoreImage({ ...smallHeader('large'), image: undefined }, { encoded });
    const refusedAs = (reason: string) => (error: SaladClientError) => {
      assert.deepEqual([error.status, error.reason], ['RESOURCE_EXHAUSTED', reason], error.message);
      return true;
    };
    await assert.rejects(score(await flat(5000)), refusedAs('IMAGE_TOO_LARGE'));
    // 16 MB would fit, but the memory that libvips needs in addition would not, at any time.
    await assert.rejects(score(await flat(4000)), refusedAs('IMAGE_TOO_LARGE'));
    assert.equal(small.server.registry.budget.bytes, 0);
    const raw = { raw: { width: 64, height: 64, channels: 1 } } as const;
    assert.equal((await score(await sharp(smallImage(2), raw).png().toBuffer())).coverage?.scored, 64);
    assert.equal(small.server.registry.budget.bytes, 0);
  });

  it('limits the size of a compressed message while it is decompressed', async () => {
    const running = await start({ maxMessageBytes: 1024 * 1024 });
    const client = new AnomalyScoringClient(running.address, credentials.createInsecure(), {
      'grpc.default_compression_algorithm': compressionAlgorithms.gzip,
      'grpc.max_send_message_length': -1,
    });
    const large = { $case: 'raw' as const, value: new Uint8Array(64 * 1024 * 1024) };
    const call = client.scoreImage({ header: undefined, image: large });
    const { code } = await refusal(collect(call));
    client.close();
    assert.equal(code, status.RESOURCE_EXHAUSTED);
    await assertServes();
  });
});

/** @returns whether the ping was answered */
function ping(session: ClientHttp2Session): Promise<boolean> {
  return new Promise((resolve) => {
    if (session.destroyed || !session.ping((error) => resolve(error === null))) resolve(false);
  });
}
