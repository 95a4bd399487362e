import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { ServerCredentials } from '@grpc/grpc-js';
import { describe, it } from 'mocha';
import { createServer } from '../../src/server/http2/create-server.js';

describe('createServer', () => {
  it("widens the window of streams and connections: fails when grpc-js's internals change", async () => {
    const windowBytes = 3 * 1024 * 1024;
    const server = createServer({}, { windowBytes });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    const session = http2.connect(`http://127.0.0.1:${port}`);
    try {
      const settings = await new Promise<http2.Settings>((resolve) =>
        session.once('remoteSettings', resolve),
      );
      assert.equal(settings.initialWindowSize, windowBytes);
      for (let tries = 0; tries < 100 && (session.state.remoteWindowSize ?? 0) < windowBytes; tries++) {
        await new Promise((next) => setTimeout(next, 10));
      }
      assert.equal(session.state.remoteWindowSize, windowBytes);
    } finally {
      session.destroy();
      server.forceShutdown();
    }
  });
});
