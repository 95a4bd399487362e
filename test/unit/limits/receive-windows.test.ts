import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants, createServer, type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'mocha';
import { ReceiveWindows } from '../../../src/limits/receive-windows.js';
import { connectRaw, openRaw } from '../../support/protocol/raw-grpc.js';
import { FRAME, RawConnection } from '../../support/protocol/raw-http2.js';

const KIB = 1024;
const WINDOW_BYTES = 1024 * KIB;
/** Of each client. */
const STREAMS = 8;
const TOTAL_BYTES = 2 * WINDOW_BYTES;
const FRAME_BYTES = 16 * KIB;

describe('ReceiveWindows', () => {
  let server: Http2Server;
  let address: string;

  before(async () => {
    // A server that reads no stream.
    server = createServer({ settings: { initialWindowSize: WINDOW_BYTES } });
    server.on('session', (session) => session.setLocalWindowSize(2 * STREAMS * WINDOW_BYTES));
    server.on('stream', (stream) => stream.on('error', () => {}));
    new ReceiveWindows({ windowBytes: WINDOW_BYTES, totalBytes: TOTAL_BYTES }).watch(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => {
    server.close();
  });

  it('closes the connection of a client that ignores its reduced windows, and no other', async () => {
    const obedient = await connectRaw(address);
    let hasGoaway = false;
    obedient.once('goaway', () => {
      hasGoaway = true;
    });
    const obedientStreams = Array.from({ length: STREAMS }, () => openRaw(obedient));
    const ignoring = await RawConnection.connect(address);
    const ignoringStreams = Array.from({ length: STREAMS }, (_, index) => 2 * index + 1);
    for (const stream of ignoringStreams) ignoring.request(stream);
    while (obedient.remoteSettings.initialWindowSize !== TOTAL_BYTES / (2 * STREAMS)) {
      await once(obedient, 'remoteSettings');
    }

    // More than the reduced windows, so that every stream waits for the server.
    for (const stream of obedientStreams) stream.write(Buffer.alloc(WINDOW_BYTES));
    for (let sent = 0; sent < WINDOW_BYTES; sent += FRAME_BYTES) {
      for (const stream of ignoringStreams) ignoring.data(stream, Buffer.alloc(FRAME_BYTES));
    }
    const { payload } = await ignoring.seen(({ type }) => type === FRAME.goaway);
    assert.equal(payload.readUInt32BE(4), constants.NGHTTP2_ENHANCE_YOUR_CALM);
    assert.equal(payload.subarray(8).toString(), 'window_not_kept');
    // The same check has inspected this connection; the answer to a ping follows its frames.
    await new Promise((resolve) => obedient.ping(resolve));
    assert.equal(hasGoaway, false);
    assert.equal(obedient.destroyed, false);
    ignoring.socket.destroy();
    obedient.destroy();
  });
});
