import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { type Arrivals, type LoadOptions, runLoad } from '../../clients/load/src/index.js';
import { type PixelChunk, SaladClient } from '../../clients/typescript/src/index.js';
import type { RunningServer } from '../../src/server/server.js';
import { smallWorkload } from '../support/servers/load.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/servers/small-server.js';

/** Rows that come to a stop, until `end` is called. */
function heldAcquisition() {
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  async function* chunks(): AsyncGenerator<PixelChunk> {
    const [first, ...rest] = smallRows(smallImage(1));
    yield first as PixelChunk;
    await ended;
    yield* rest;
  }
  return { chunks: chunks(), end };
}

describe('the load generator at a server that admits one acquisition', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let server: RunningServer;
  let client: SaladClient;

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path, { maxConcurrentAcquisitions: 1, retryDelayMs: 5 });
    client = new SaladClient(server.address);
  });
  after(async () => {
    client.close();
    await server.stop(0);
    await models.remove();
  });

  const offer = (arrivals: Arrivals, more: Partial<LoadOptions> = {}) =>
    runLoad({
      clients: [client],
      kinds: [{ model: { name: 'small' }, workload: smallWorkload('tiles') }],
      arrivals,
      durationMs: 1500,
      warmUpMs: 200,
      timeoutMs: 30_000,
      ...more,
    });

  it('retries refused acquisitions of streams without an interval until they succeed', async () => {
    // Another acquisition has the only place until all four streams were refused.
    const held = heldAcquisition();
    let isHolding = () => {};
    const holding = new Promise<void>((resolve) => {
      isHolding = resolve;
    });
    const holder = client.scoreAcquisition(smallHeader('holder'), held.chunks, {
      onEvent: () => isHolding(),
    });
    await holding;
    const refusedStreams = new Set<number>();
    const load = offer(
      { kind: 'streams', count: 4, intervalMs: 0 },
      {
        warmUpMs: 0,
        durationMs: 1,
        onRetry: (stream) => {
          refusedStreams.add(stream);
          if (refusedStreams.size === 4) held.end();
        },
      },
    );
    const { acquisitions } = await load;
    await holder;
    assert.equal(acquisitions.ok, 4);
    assert.ok(acquisitions.retries >= 4);
    assert.deepEqual(acquisitions.byStatus, {});
  });

  it('counts refusals with Poisson arrivals', async () => {
    const { acquisitions } = await offer({ kind: 'poisson', ratePerSecond: 400, seed: 1 });
    assert.ok(acquisitions.ok > 0);
    assert.ok(acquisitions.refused > 0);
    assert.deepEqual([acquisitions.retries, acquisitions.failed], [0, 0]);
    assert.equal(acquisitions.byStatus['RESOURCE_EXHAUSTED'], acquisitions.refused);
  });

  it('ends when the signal aborts: rates are per measured time, and cancelled acquisitions do not count as failed', async () => {
    const abort = new AbortController();
    let done = 0;
    const onProgress = (acquisitions: number) => {
      done = acquisitions;
      if (acquisitions === 5) abort.abort();
    };
    const started = performance.now();
    const options = { durationMs: 600_000, warmUpMs: 0, signal: abort.signal, onProgress };
    const result = await offer({ kind: 'streams', count: 2, intervalMs: 0 }, options);
    const tookS = (performance.now() - started) / 1000;
    assert.ok(result.seconds > 0 && result.seconds <= tookS, `${result.seconds} of ${tookS} s`);
    assert.equal(result.acquisitions.ok, done);
    assert.deepEqual(result.acquisitions.byStatus, {});
    assert.equal(result.acquisitions.perSecond, result.acquisitions.ok / result.seconds);
  });

  it('does not wait for a late arrival after the signal aborts', async () => {
    const abort = new AbortController();
    const running = offer(
      { kind: 'poisson', ratePerSecond: 0.001, seed: 1 },
      { durationMs: 6e7, warmUpMs: 0, signal: abort.signal },
    );
    abort.abort();
    assert.deepEqual((await running).acquisitions.ok, 0);
  });
});
