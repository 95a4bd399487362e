import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { type Arrivals, runLoad } from '../../../clients/load/src/index.js';
import { type PixelChunk, SaladClient, SaladClientError } from '../../../clients/typescript/src/index.js';
import { type ServeProcess, startServeWith } from '../../support/programs/salad.js';
import { smallWorkload } from '../../support/servers/load.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
} from '../../support/servers/small-server.js';

const chunks = smallRows(smallImage(1));

async function* stalls(): AsyncGenerator<PixelChunk> {
  yield* chunks.slice(0, 4);
  await new Promise(() => {});
}

const isRefusal = (error: unknown) => error instanceof SaladClientError && error.reason === 'OVERLOADED';

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

describe('a server offered more than it can do', function () {
  this.timeout(180_000);
  let models: ModelsFolder;
  let server: ServeProcess;
  let client: SaladClient;

  async function serve(settings: Record<string, unknown>): Promise<void> {
    server = await startServeWith(models.path, settings);
    client = new SaladClient(server.address, { retry: false });
  }

  before(async () => {
    // Wide enough that the engine, not the port, is the narrow place, and that waits are bounded by the work.
    models = await smallModels({ width: 512 });
  });
  after(() => models.remove());

  describe('with the largest number of acquisitions open', () => {
    const PLACES = 8;
    const abort = new AbortController();
    let holders: Promise<unknown>[];

    before(async () => {
      // One client may take them all.
      await serve({ maxConcurrentAcquisitions: PLACES, retryDelayMs: 250, peerShareRatio: 0 });
      let accepted = 0;
      holders = Array.from({ length: PLACES }, (_, index) =>
        client
          .scoreAcquisition(smallHeader(`hold-${index}`), stalls(), {
            signal: abort.signal,
            onEvent: (event) => {
              if (event.type === 'accepted') accepted += 1;
            },
          })
          .catch(() => {}),
      );
      while (accepted < PLACES) await sleep(5);
    });
    after(async () => {
      client.close();
      await server.stop('SIGKILL');
    });

    it('refuses in less than 5 ms, with the reason and a retry delay', async () => {
      const times: number[] = [];
      for (let probe = 0; probe < 300; probe++) {
        const started = performance.now();
        await assert.rejects(client.scoreAcquisition(smallHeader('probe'), chunks), (error: unknown) => {
          times.push(performance.now() - started);
          assert.ok(error instanceof SaladClientError);
          assert.deepEqual(
            [error.status, error.reason, error.retryAfterMs],
            ['RESOURCE_EXHAUSTED', 'OVERLOADED', 250],
          );
          return true;
        });
      }
      console.log(
        `    refused in ${median(times).toFixed(2)} ms (median), ${Math.max(...times).toFixed(1)} ms at most`,
      );
      assert.ok(median(times) < 5, `median ${median(times)} ms`);
    });

    it('admits acquisitions as soon as others are cancelled', async () => {
      abort.abort();
      await Promise.all(holders);
      const started = performance.now();
      for (;;) {
        try {
          const aggregate = await client.scoreAcquisition(smallHeader('next'), chunks);
          assert.equal(aggregate.coverage?.scored, 64);
          break;
        } catch (error) {
          if (!(error instanceof SaladClientError) || error.reason !== 'OVERLOADED') throw error;
        }
      }
      assert.ok(performance.now() - started < 1000);
    });
  });

  describe('that promises an answer soon', () => {
    before(() => serve({ maxQueueMs: 150 }));
    after(async () => {
      client.close();
      await server.stop('SIGKILL');
    });

    const offer = (arrivals: Arrivals, durationMs: number) =>
      runLoad({
        clients: [client],
        kinds: [{ model: { name: 'small' }, workload: smallWorkload('rows') }],
        arrivals,
        durationMs,
        warmUpMs: 1000,
        timeoutMs: 30_000,
      });

    async function measure() {
      const closedLoop = { kind: 'streams', count: 8, intervalMs: 0 } as const;
      const before = await offer(closedLoop, 2000);
      const rate = before.acquisitions.perSecond;
      const calm = await offer({ kind: 'poisson', ratePerSecond: 0.8 * rate, seed: 3 }, 4000);
      const over = await offer({ kind: 'poisson', ratePerSecond: 2 * rate, seed: 4 }, 4000);
      // Again: on a shared machine the peak itself moves.
      const after = await offer(closedLoop, 2000);
      const goodput = over.tiles.perSecond / Math.min(before.tiles.perSecond, after.tiles.perSecond);
      const p99Ratio = over.acquisitions.p99Ms / calm.acquisitions.p99Ms;
      console.log(
        `    peak ${rate.toFixed(0)} acquisitions/s; at 2x: goodput ${goodput.toFixed(2)} of it, ` +
          `p99 ${over.acquisitions.p99Ms.toFixed(0)} ms (${calm.acquisitions.p99Ms.toFixed(0)} ms at 0.8x), ` +
          `${over.acquisitions.ok} admitted, ${over.acquisitions.refused} refused`,
      );
      for (const { acquisitions } of [calm, over]) {
        assert.equal(acquisitions.failed, 0, JSON.stringify(acquisitions.byStatus));
      }
      return { goodput, p99Ratio, refused: over.acquisitions.refused };
    }

    it('keeps its goodput and its latency at twice the sustainable rate, and refuses the other acquisitions', async () => {
      // The bench is strict (0.95 of the peak, three times the p99). Here client and server share two cores with whatever
      // else runs, and the best of three rounds counts. Admitting without regard to waiting, p99 grows by a factor
      // of ten and more with the length of the run.
      const isGood = ({ goodput, p99Ratio, refused }: Awaited<ReturnType<typeof measure>>) =>
        goodput >= 0.75 && p99Ratio <= 4 && refused > 0;
      for (let round = 1; ; round++) {
        const result = await measure();
        if (isGood(result)) break;
        assert.ok(round < 3, JSON.stringify(result));
      }
    });

    it('serves more streams than it admits at a time: the client retries after the delay', async () => {
      const patient = new SaladClient(server.address);
      try {
        let retries = 0;
        const STREAMS = 64;
        const EACH = 4;
        const results = await Promise.all(
          Array.from({ length: STREAMS }, async (_, stream) => {
            let scored = 0;
            for (let index = 0; index < EACH; index++) {
              const aggregate = await patient.scoreAcquisition(smallHeader(`s${stream}-${index}`), chunks, {
                timeoutMs: 90_000,
                onRetry: ({ error }) => {
                  assert.equal(error.reason, 'OVERLOADED');
                  retries += 1;
                },
              });
              scored += aggregate.coverage?.scored ?? 0;
            }
            return scored;
          }),
        );
        assert.deepEqual(results, new Array(STREAMS).fill(EACH * 64));
        assert.ok(retries > 0, 'all were admitted at once: the test shows nothing');
      } finally {
        patient.close();
      }
    });
  });

  describe('with a long queue', () => {
    before(() => serve({ maxQueueMs: 600_000, overloadQueueRatio: 0 }));
    after(async () => {
      client.close();
      await server.stop('SIGKILL');
    });

    it('drops the tiles of expired and cancelled acquisitions before they are scored', async () => {
      const FLOOD = 60;
      const flood = (timeoutMs: number, signal: AbortSignal) =>
        Promise.allSettled(
          Array.from({ length: FLOOD }, (_, index) =>
            client.scoreAcquisition(smallHeader(`flood-${index}`), chunks, { timeoutMs, signal }),
          ),
        );
      const started = performance.now();
      const never = new AbortController().signal;
      setMaxListeners(0, never);
      await flood(60_000, never);
      const undisturbedMs = performance.now() - started;
      const cutMs = undisturbedMs / 10;
      for (const [timeoutMs, abortMs] of [
        [cutMs, 60_000],
        [60_000, cutMs],
      ] as const) {
        const abort = new AbortController();
        setMaxListeners(0, abort.signal);
        const timer = setTimeout(() => abort.abort(), abortMs);
        const results = await flood(timeoutMs, abort.signal);
        clearTimeout(timer);
        const cut = results.filter(({ status }) => status === 'rejected').length;
        const refused = results.filter((one) => one.status === 'rejected' && isRefusal(one.reason));
        assert.equal(refused.length, 0);
        assert.ok(cut > FLOOD / 2, `${cut} were cut short`);
        const next = performance.now();
        await client.scoreAcquisition(smallHeader('after'), chunks, { timeoutMs: 60_000 });
        const waited = performance.now() - next;
        assert.ok(waited < undisturbedMs / 3, `waited ${waited} ms; the flood takes ${undisturbedMs} ms`);
      }
    });
  });
});
