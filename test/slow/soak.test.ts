import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { type Arrivals, type LoadResult, runLoad } from '../../clients/load/src/index.js';
import { SaladClient } from '../../clients/typescript/src/index.js';
import {
  readCollections,
  recordedCollections,
  rssBytes,
  slope,
  type ThreadMemory,
} from '../support/measurements/process-memory.js';
import { type ServeProcess, startServeUnder } from '../support/programs/salad.js';
import { smallWorkload } from '../support/servers/load.js';
import { type ModelsFolder, smallModels } from '../support/servers/small-server.js';

const MIB = 1024 * 1024;
const STREAMS = 16;
const SECONDS = Number(process.env['SALAD_SOAK_SECONDS'] ?? 60);
const COLLECT_EVERY_MS = 4000;
/**
 * How much a thread's heap and buffers may grow over the measured time. The constant covers what does not depend on
 * the number of acquisitions: compiled code, caches that fill. A thread that leaks one small object an acquisition
 * passes the second part.
 */
const HEAP_GROWTH_MIB = 2;
const HEAP_GROWTH_BYTES_PER_ACQUISITION = 200;
/**
 * Resident memory grows by some 50 MiB in the first two minutes, while the heap stays as it is: the pools of the
 * allocator grow to their working size. A longer run can tell a leak outside of the heaps.
 */
const ALLOCATOR_WARM_UP_SECONDS = 150;
const RSS_MAX_MIB_PER_MINUTE = SECONDS > 3 * ALLOCATOR_WARM_UP_SECONDS ? 2 : 64;

interface Sample {
  /** Minutes. */
  readonly x: number;
  /** MiB. */
  readonly y: number;
}

/** The lowest RSS of each interval between two collections, by minutes since the start. */
function troughs(samples: readonly Sample[]): readonly Sample[] {
  const lowest = new Map<number, Sample>();
  for (const sample of samples) {
    const interval = Math.floor((sample.x * 60_000) / (2 * COLLECT_EVERY_MS));
    const before = lowest.get(interval);
    if (before === undefined || sample.y < before.y) lowest.set(interval, sample);
  }
  return [...lowest.values()];
}

/** Growth of the heap and the buffers of each thread, in MiB a minute. One collection out of line does not change it. */
function heapGrowth(collections: readonly ThreadMemory[]): readonly number[] {
  const threads = [...new Set(collections.map(({ thread }) => thread))];
  return threads.map((thread) => {
    const own = collections.filter((collection) => collection.thread === thread);
    return slope(own.map(({ atMs, bytes }) => ({ x: atMs / 60_000, y: bytes / MIB })));
  });
}

describe(`a soak of ${SECONDS} s at 80 % load`, function () {
  this.timeout((SECONDS + 90) * 1000);
  let models: ModelsFolder;
  let server: ServeProcess;
  let folder: string;
  const collectionsFile = () => join(folder, 'collections.txt');

  before(async () => {
    models = await smallModels();
    folder = mkdtempSync(join(tmpdir(), 'salad-soak-'));
    const record = recordedCollections(COLLECT_EVERY_MS, collectionsFile());
    const flags = ['--models', models.path, '--engine', 'onnx', '--workers', '1'];
    server = await startServeUnder({ nodeFlags: record }, ...flags);
  });
  after(async () => {
    await server.stop('SIGKILL');
    await models.remove();
    rmSync(folder, { recursive: true });
  });

  it('serves every acquisition in memory that does not grow', async () => {
    const pid = server.process.pid as number;
    const clients = Array.from({ length: 4 }, () => new SaladClient(server.address));
    const offer = (arrivals: Arrivals, durationMs: number): Promise<LoadResult> =>
      runLoad({
        clients,
        kinds: [{ model: { name: 'small' }, workload: smallWorkload('rows') }],
        arrivals,
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
      // A quarter of the time: heaps and pools grow to their working size.
      const warmUpSeconds = Math.min(ALLOCATOR_WARM_UP_SECONDS, SECONDS / 4);
      await offer(steady, warmUpSeconds * 1000);
      const samples: Sample[] = [];
      const started = performance.now();
      const startedAtMs = Date.now();
      const timer = setInterval(() => {
        samples.push({ x: (performance.now() - started) / 60_000, y: rssBytes(pid) / MIB });
      }, 250);
      const minutes = (SECONDS - warmUpSeconds) / 60;
      const result = await offer(steady, minutes * 60_000);
      clearInterval(timer);
      const rssGrowth = slope(troughs(samples));
      const collections = readCollections(collectionsFile()).filter(({ atMs }) => atMs >= startedAtMs);
      const growths = heapGrowth(collections);
      const leakMib = (HEAP_GROWTH_BYTES_PER_ACQUISITION * result.acquisitions.ok) / MIB;
      const heapMaxMibPerMinute = (HEAP_GROWTH_MIB + leakMib) / minutes;
      console.log(
        `    ${result.acquisitions.ok} acquisitions at ${ratePerSecond.toFixed(0)}/s, p99 ` +
          `${result.acquisitions.p99Ms.toFixed(0)} ms; heaps ${growths.map((growth) => growth.toFixed(2)).join(', ')} ` +
          `MiB a minute (at most ${heapMaxMibPerMinute.toFixed(2)}); RSS ${samples.at(-1)?.y.toFixed(0)} MiB, ` +
          `${rssGrowth.toFixed(2)} MiB a minute (at most ${RSS_MAX_MIB_PER_MINUTE})`,
      );
      assert.equal(result.acquisitions.failed, 0, JSON.stringify(result.acquisitions.byStatus));
      assert.ok(growths.length > 0, 'no thread recorded its collections');
      for (const growth of growths) assert.ok(growth <= heapMaxMibPerMinute, `${growth} MiB a minute`);
      assert.ok(rssGrowth <= RSS_MAX_MIB_PER_MINUTE, `${rssGrowth} MiB of RSS a minute`);
    } finally {
      for (const client of clients) client.close();
    }
  });
});
