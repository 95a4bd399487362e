import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'mocha';
import { Http2Filter } from '../../../src/limits/http2-filter.js';
import { RateLimiter } from '../../../src/limits/rate-limiter.js';
import { TurnScheduler } from '../../../src/limits/turn-scheduler.js';
import { FRAME, RawConnection } from '../../support/protocol/raw-http2.js';

const CANCEL = 8;
const STREAMS = 200;

describe('Http2Filter', () => {
  const server = createServer();
  const served: string[] = [];
  let address = '';

  before(async () => {
    let now = 0;
    // Every look at the clock takes a ms: four streams in a turn.
    const scheduler = new TurnScheduler({ now: () => now++ });
    const rateLimiter = new RateLimiter({ callsPerSecond: 0 });
    const filter = new Http2Filter({
      ...{ maxConnections: 10, peerShareRatio: 0, rateLimiter, scheduler, retryDelayMs: 500 },
    });
    filter.watch(server);
    server.on('stream', (stream: ServerHttp2Stream, headers) => {
      served.push(String(headers[':path']));
      stream.on('error', () => {});
      stream.respond({ ':status': 200 }, { endStream: true });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => server.close());

  it('serves the first of many streams that are reset at once, and every stream that is not', async () => {
    const attacker = await RawConnection.connect(address);
    attacker.socket.cork();
    for (let index = 0; index < STREAMS; index++) {
      attacker.request(2 * index + 1, '/reset');
      const code = Buffer.alloc(4);
      code.writeUInt32BE(CANCEL);
      attacker.send(FRAME.reset, 0, 2 * index + 1, code);
    }
    attacker.request(2 * STREAMS + 1, '/last', {}, true);
    attacker.socket.uncork();
    const session = connect(`http://${address}`);
    const stream = session.request({ ':path': '/other' });
    await once(stream.resume(), 'end');
    await attacker.seen((frame) => frame.stream === 2 * STREAMS + 1);
    const count = (path: string) => served.filter((each) => each === path).length;
    assert.deepEqual([count('/last'), count('/other')], [1, 1]);
    assert.ok(count('/reset') > 0 && count('/reset') <= 10, `${count('/reset')} of ${STREAMS} were served`);
    session.close();
    attacker.socket.destroy();
  });
});
