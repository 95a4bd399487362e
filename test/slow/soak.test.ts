import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { type Arrivals, type LoadResult, runLoad } from '../../clients/load/src/index.js';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { forcedCollections, rssBytes, slope } from '../support/process-memory.js';
import { type ServeProcess, startServeUnder } from '../support/salad.js';
import { type ModelsFolder, SIDE, smallImage, smallModels } from '../support/small-server.js';

const MIB = 1024 * 1024;
const STREAMS = 16;
const SECONDS = Number(process.env['SALAD_SOAK_SECONDS'] ?? 60);
const COLLECT_EVERY_MS = 4000;
/** Ten minutes tell 1 MiB a minute from the noise of an allocator; one minute tells 12. */
const SLOPE_MAX_MIB_PER_MINUTE = SECONDS >= 600 ? 1 : 12;

/** The lowest RSS of each interval between two collections, by minutes since the start. */
function troughs(samples: readonly { readonly x: number; readonly y: number }[]) {
  const lowest = new Map<number, { x: number; y: number }>();
  for (const sample of samples) {
    const interval = Math.floor((sample.x * 60_000) / (2 * COLLECT_EVERY_MS));
    const before = lowest.get(interval);
    if (before === undefined || sample.y < before.y) lowest.set(interval, sample);
  }
  return [...lowest.values()];
}

describe(`a soak of ${SECONDS} s at 80 % load`, function () {
  this.timeout((SECONDS + 90) * 1000);
  let models: ModelsFolder;
  let server: ServeProcess;

  before(async () => {
    models = await smallModels();
    const flags = ['--models', models.path, '--engine', 'onnx', '--workers', '1'];
    server = await startServeUnder({ nodeFlags: forcedCollections(COLLECT_EVERY_MS) }, ...flags);
  });
  after(async () => {
    await server.stop('SIGKILL');
    await models.remove();
  });

  it('serves every acquisition in memory that does not grow', async () => {
    const pid = server.process.pid as number;
    const clients = Array.from({ length: 4 }, () => new SaladClient(server.address));
    const offer = (arrivals: Arrivals, durationMs: number): Promise<LoadResult> =>
      runLoad({
        clients,
        model: { name: 'small' },
        arrivals,
        workload: {
          mode: 'rows',
          size: SIDE,
          pixels: smallImage(1),
          tilesPerMessage: 16,
          rowsPerMessage: 16,
          acquisitionMs: 0,
        },
        durationMs,
        warmUpMs: 0,
        timeoutMs: 30_000,
      });
    try {
      const peak = await offer({ kind: 'streams', count: 8, intervalMs: 0 }, 3000);
      const ratePerSecond = 0.8 * peak.acquisitions.perSecond;
      // On a schedule, but never more at once than there are streams: a machine that others slow down must not
      // turn the soak into an overload.
      const steady = {
        kind: 'streams',
        count: STREAMS,
        intervalMs: (1000 * STREAMS) / ratePerSecond,
      } as const;
      // A quarter of the time, at most two minutes: heaps and pools grow to their working size.
      const warmUpSeconds = Math.min(120, SECONDS / 4);
      await offer(steady, warmUpSeconds * 1000);
      const samples: { x: number; y: number }[] = [];
      const started = performance.now();
      const timer = setInterval(() => {
        samples.push({ x: (performance.now() - started) / 60_000, y: rssBytes(pid) / MIB });
      }, 250);
      const result = await offer(steady, (SECONDS - warmUpSeconds) * 1000);
      clearInterval(timer);
      const growth = slope(troughs(samples));
      console.log(
        `    ${result.acquisitions.ok} acquisitions at ${ratePerSecond.toFixed(0)}/s, p99 ` +
          `${result.acquisitions.p99Ms.toFixed(0)} ms; RSS ${samples.at(-1)?.y.toFixed(0)} MiB, ` +
          `${growth.toFixed(2)} MiB a minute (at most ${SLOPE_MAX_MIB_PER_MINUTE})`,
      );
      assert.equal(result.acquisitions.failed, 0, JSON.stringify(result.acquisitions.byStatus));
      assert.ok(growth <= SLOPE_MAX_MIB_PER_MINUTE, `${growth} MiB a minute`);
    } finally {
      for (const client of clients) client.close();
    }
  });
});
