import assert from 'node:assert/strict';
import { Server } from '@grpc/grpc-js';
import { describe, it } from 'mocha';
import { internalsOf } from '../../../../src/server/http2/create-server.js';

describe('internalsOf', () => {
  it('finds the internals that connection limits need in the installed grpc-js', () => {
    const { http2Options, createHttp2Server } = internalsOf(new Server());
    assert.equal(typeof http2Options, 'object');
    assert.equal(typeof createHttp2Server, 'function');
  });

  it('refuses a grpc-js without them: a server without limits must not start', () => {
    for (const missing of ['commonServerOptions', 'createHttp2Server']) {
      const server = Object.assign(Object.create(new Server()), { [missing]: undefined });
      assert.throws(() => internalsOf(server), { reason: 'INTERNAL', message: /grpc-js/ });
    }
  });
});
