import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { type PixelChunk, SaladClient, SaladClientError } from '../../clients/typescript/src/index.js';
import { pingAfterGoaway } from '../../clients/typescript/src/keepalive.js';
import { Latch } from '../../src/acquisition/index.js';
import { startTcpProxy } from '../support/network/tcp-proxy.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/servers/small-server.js';

const chunks = smallRows(smallImage(6));
const PING_MS = 40;
/** Size of a PING frame. */
const PING_BYTES = 17;
/** Pings between the halves of an acquisition. */
const PINGS = 8;

/** Sends half an acquisition, and the rest after `sendRest`. */
function pausedAcquisition(client: SaladClient) {
  const restRequested = new Latch();
  const accepted = new Latch();
  async function* source(): AsyncGenerator<PixelChunk> {
    yield* chunks.slice(0, 4);
    await restRequested.wait();
    yield* chunks.slice(4);
  }
  const outcome = client.scoreAcquisition(smallHeader('paused'), source(), {
    timeoutMs: 20_000,
    onEvent: ({ type }) => {
      if (type === 'accepted') accepted.open();
    },
  });
  outcome.catch(() => {});
  return { accepted: accepted.wait(), sendRest: () => restRequested.open(), outcome };
}

describe('the keepalive of the TypeScript client', function () {
  this.timeout(30_000);
  let models: ModelsFolder;

  before(async () => {
    models = await smallModels();
  });
  after(() => models.remove());

  /** Starts an acquisition through a proxy that counts the client's bytes. */
  const startThroughProxy = async (flags: Record<string, unknown> = {}) => {
    const server = await startSmall(models.path, { minPingIntervalMs: 0, ...flags });
    let bytes = 0;
    const forwarded = new Latch();
    const proxy = await startTcpProxy({ host: '127.0.0.1', port: server.port }, (total) => {
      bytes = total;
      forwarded.open();
    });
    const keepalive = { timeMs: PING_MS, timeoutMs: 10 * PING_MS };
    const client = new SaladClient(proxy.address, { retry: false, keepalive });
    const acquisition = pausedAcquisition(client);
    await acquisition.accepted;
    return {
      ...acquisition,
      server,
      proxy,
      /** Resolves after eight pings; rejects where the acquisition ends before, because then no ping follows. */
      async pings() {
        const target = bytes + PINGS * PING_BYTES;
        while (bytes < target) {
          assert.equal(await Promise.race([acquisition.outcome, forwarded.wait()]), undefined);
        }
      },
      async close() {
        client.close();
        await proxy.close();
        await server.stop(0);
      },
    };
  };

  it('does not end an acquisition that runs while the server drains', async () => {
    const { server, pings, sendRest, outcome, close } = await startThroughProxy();
    try {
      void server.stop(20_000);
      await pings();
      sendRest();
      assert.equal((await outcome).coverage?.scored, 64);
    } finally {
      await close();
    }
  });

  it('does not end an acquisition that runs longer than the age limit of its connection', async () => {
    const { pings, sendRest, outcome, close } = await startThroughProxy({ connectionMaxAgeMs: PING_MS });
    try {
      await pings();
      sendRest();
      assert.equal((await outcome).coverage?.scored, 64);
    } finally {
      await close();
    }
  });

  it('detects a lost connection also after a GOAWAY', async () => {
    const { server, proxy, pings, outcome, close } = await startThroughProxy();
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
