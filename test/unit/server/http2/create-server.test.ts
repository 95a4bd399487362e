import assert from 'node:assert/strict';
import { Server } from '@grpc/grpc-js';
import { describe, it } from 'mocha';
import { internalsOf } from '../../../../src/server/http2/create-server.js';

describe('internalsOf', () => {
  it('finds in the grpc-js that is installed what the limits of connections need', () => {
    const { common, create } = internalsOf(new Server());
    assert.equal(typeof common, 'object');
    assert.equal(typeof create, 'function');
  });

  it('refuses a grpc-js without it: a server without limits must not start', () => {
    for (const missing of ['commonServerOptions', 'createHttp2Server']) {
      const server = Object.assign(Object.create(new Server()), { [missing]: undefined });
      assert.throws(() => internalsOf(server), { reason: 'INTERNAL', message: /grpc-js/ });
    }
  });
});
