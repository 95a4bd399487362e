/**
 * Suite `swap`: what acquisitions notice while versions of their model are loaded and unloaded, and what memory does.
 * Windows without a swap and windows full of swaps follow one another under the same open-loop load.
 */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LoadResult, runLoad, type Workload } from '../../clients/load/src/index.js';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { BUNDLE_FILES, readBundle } from '../../src/bundle/bundle.js';
import { shippedModels } from '../../src/util/package-root.js';
import { planCores, withCores } from '../support/cores.js';
import { median } from '../support/figures.js';
import type { BenchOptions } from '../support/options.js';
import { NO_QUEUE_LIMIT, type ServerProcess, startSalad } from '../support/server-process.js';
import { tileWorkload } from '../support/workload.js';

const MODEL = 'phantom';
/** Share of the highest rate that the load offers. */
const LOAD_SHARE = 0.5;
const MIB = 1024 * 1024;

interface Bench {
  readonly server: ServerProcess;
  readonly client: SaladClient;
  readonly workload: Workload;
  readonly quick: boolean;
  /** Models folder of the server. */
  readonly models: string;
}

export async function benchSwap({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const plan = planCores();
  const models = await mkdtemp(join(tmpdir(), 'salad-swap-'));
  try {
    await writeVersion(models, 1);
    const { geometry } = await readBundle(join(models, MODEL, '1'));
    return await withCores(plan.client, async () => {
      const environment = { ...NO_QUEUE_LIMIT, SALAD_ADMIN: 'true' };
      const server = await startSalad({ models, cores: plan.server, environment });
      const client = new SaladClient(server.address);
      try {
        return await measure({ server, client, workload: tileWorkload(geometry), quick, models });
      } finally {
        client.close();
        await server.stop();
      }
    });
  } finally {
    await rm(models, { recursive: true });
  }
}

async function measure(bench: Bench): Promise<Record<string, unknown>> {
  const { quick } = bench;
  const rounds = quick ? 2 : 12;
  const highest = await load(bench, { kind: 'streams', count: 8, intervalMs: 0 }, quick ? 3000 : 10_000);
  const ratePerSecond = LOAD_SHARE * highest.acquisitions.perSecond;
  const offer = (seed: number) => load(bench, { kind: 'poisson', ratePerSecond, seed }, quick ? 4000 : 8000);
  const rssBefore = await rssBytes(bench.server.pid);
  const quiet: LoadResult[] = [];
  const swapping: LoadResult[] = [];
  const loadMs: number[] = [];
  let rssPeak = rssBefore;
  let version = 1;
  for (let round = 0; round < rounds; round++) {
    quiet.push(await offer(round));
    const running = offer(round);
    let isOver = false;
    const ended = running.then(() => {
      isOver = true;
    });
    while (!isOver) {
      version += 1;
      loadMs.push(await swap(bench, version));
      rssPeak = Math.max(rssPeak, await rssBytes(bench.server.pid));
      await Promise.race([sleep(250), ended]);
    }
    swapping.push(await running);
  }
  // The server releases memory once it has been idle for two of its checks.
  await sleep(20_000);
  const rssAfter = await rssBytes(bench.server.pid);
  // By round: the two windows of a round follow one another, so that other work on the machine affects both.
  const p99s = quiet.map(
    (run, round) => [run.acquisitions.p99Ms, swapping[round]!.acquisitions.p99Ms] as const,
  );
  return {
    model: MODEL,
    rounds,
    acquisitionsPerSecond: ratePerSecond,
    swaps: loadMs.length,
    loadMs: median(loadMs),
    loadMsMax: Math.max(...loadMs),
    quiet: describe(quiet),
    swapping: describe(swapping),
    p99DeltaMs: median(p99s.map(([without, during]) => during - without)),
    p99Ratio: median(p99s.map(([without, during]) => during / without)),
    rssMiB: { before: rssBefore / MIB, during: rssPeak / MIB, after: rssAfter / MIB },
  };
}

/** Loads the version, unloads the one before, and waits until that is done. @returns the time of the load in ms */
async function swap({ client, models }: Bench, version: number): Promise<number> {
  await writeVersion(models, version);
  const startedAt = performance.now();
  await client.loadModel(MODEL, version);
  const loadMs = performance.now() - startedAt;
  await client.unloadModel(MODEL, version - 1);
  const isLeft = async () => (await client.modelVersions()).length > 1;
  while (await isLeft()) await sleep(20);
  await rm(join(models, MODEL, String(version - 1)), { recursive: true });
  return loadMs;
}

/** A copy of the shipped bundle with a version of its own. */
async function writeVersion(models: string, version: number): Promise<void> {
  const folder = join(models, MODEL, String(version));
  await cp(join(shippedModels(), MODEL, '1'), folder, { recursive: true });
  const manifest = join(folder, BUNDLE_FILES.manifest);
  const content = JSON.parse(await readFile(manifest, 'utf8')) as Record<string, unknown>;
  await writeFile(manifest, JSON.stringify({ ...content, version }));
}

function load(
  { client, workload, quick }: Bench,
  arrivals: Parameters<typeof runLoad>[0]['arrivals'],
  durationMs: number,
): Promise<LoadResult> {
  return runLoad({
    clients: [client],
    kinds: [{ model: { name: MODEL }, workload }],
    arrivals,
    durationMs,
    warmUpMs: quick ? 500 : 1000,
    timeoutMs: 60_000,
  });
}

function describe(runs: readonly LoadResult[]): Record<string, unknown> {
  const of = (pick: (run: LoadResult['acquisitions']) => number) => runs.map((run) => pick(run.acquisitions));
  return {
    acquisitions: of(({ ok }) => ok).reduce((sum, ok) => sum + ok, 0),
    failed: of(({ failed, refused }) => failed + refused).reduce((sum, failed) => sum + failed, 0),
    p50Ms: median(of(({ p50Ms }) => p50Ms)),
    p99Ms: median(of(({ p99Ms }) => p99Ms)),
    p99MsByRound: of(({ p99Ms }) => p99Ms),
  };
}

/** Resident memory as reported by Linux. */
async function rssBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
}
