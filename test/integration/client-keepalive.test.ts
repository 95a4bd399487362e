import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { type PixelChunk, SaladClient, SaladClientError } from '../../clients/typescript/src/index.js';
import { pingAfterGoaway } from '../../clients/typescript/src/keepalive.js';
import { Latch } from '../../src/acquisition/index.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/small-server.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

const chunks = smallRows(smallImage(6));
const PING_MS = 40;
/** On the wire. */
const PING_BYTES = 17;
/** Pings that fall in between the halves of an acquisition. */
const PINGS = 8;

/** Half an acquisition, then nothing until it is told to go on. */
function heldAcquisition(client: SaladClient) {
  const released = new Latch();
  const accepted = new Latch();
  async function* source(): AsyncGenerator<PixelChunk> {
    yield* chunks.slice(0, 4);
    await released.wait();
    yield* chunks.slice(4);
  }
  const outcome = client.scoreAcquisition(smallHeader('held'), source(), {
    timeoutMs: 20_000,
    onEvent: ({ type }) => {
      if (type === 'accepted') accepted.open();
    },
  });
  outcome.catch(() => {});
  return { accepted: accepted.wait(), release: () => released.open(), outcome };
}

describe('the keepalive of the TypeScript client', function () {
  this.timeout(30_000);
  let models: ModelsFolder;

  before(async () => {
    models = await smallModels();
  });
  after(() => models.remove());

  /** An acquisition through a proxy that sees the client's pings. */
  const through = async (flags: Record<string, unknown> = {}) => {
    const server = await startSmall(models.path, { minPingIntervalMs: 0, ...flags });
    let bytes = 0;
    const proxy = await startTcpProxy({ host: '127.0.0.1', port: server.port }, (total) => {
      bytes = total;
    });
    const keepalive = { timeMs: PING_MS, timeoutMs: 10 * PING_MS };
    const client = new SaladClient(proxy.address, { retry: false, keepalive });
    const acquisition = heldAcquisition(client);
    await acquisition.accepted;
    return {
      ...acquisition,
      server,
      proxy,
      async pings() {
        const enough = bytes + PINGS * PING_BYTES;
        while (bytes < enough) {
          // Where the acquisition ends before that, no further ping comes.
          assert.equal(await Promise.race([acquisition.outcome, sleep(10)]), undefined);
        }
      },
      async close() {
        client.close();
        await proxy.close();
        await server.stop(0);
      },
    };
  };

  it('leaves an acquisition its aggregate that runs while the server drains', async () => {
    const { server, pings, release, outcome, close } = await through();
    try {
      void server.stop(20_000);
      await pings();
      release();
      assert.equal((await outcome).coverage?.scored, 64);
    } finally {
      await close();
    }
  });

  it('leaves an acquisition its aggregate that outlives the age of its connection', async () => {
    const { pings, release, outcome, close } = await through({ connectionMaxAgeMs: PING_MS });
    try {
      await pings();
      release();
      assert.equal((await outcome).coverage?.scored, 64);
    } finally {
      await close();
    }
  });

  it('finds a line that is dead after the GOAWAY, too', async () => {
    const { server, proxy, pings, outcome, close } = await through();
    try {
      void server.stop(20_000);
      await pings();
      proxy.freeze();
      await assert.rejects(outcome, (error: unknown) => {
        assert.ok(error instanceof SaladClientError);
        assert.equal(error.status, 'UNAVAILABLE');
        return true;
      });
    } finally {
      await close();
    }
  });

  it('refuses a grpc-js in which it cannot reach the connections', () => {
    assert.throws(() => pingAfterGoaway({ internalChannel: {} } as never), /version of @grpc\/grpc-js/);
  });
});
