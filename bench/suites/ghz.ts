/**
 * Suite `ghz`: compares the latencies that this project's client measures with those that ghz measures: ScoreImage with
 * the same image at the same rate on the same server, alternately. The two share only the server, so that figures on
 * which they agree are those of the server.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Latencies } from '../../clients/load/src/statistics.js';
import { SaladClient } from '../../clients/typescript/src/index.js';
import { note } from '../../src/cli/shared/output.js';
import { packageRoot, shippedModels } from '../../src/util/package-root.js';
import { onCores, planCores, withCores } from '../support/cores.js';
import { median } from '../support/figures.js';
import type { BenchOptions } from '../support/options.js';
import { NO_QUEUE_LIMIT, startSalad } from '../support/server-process.js';
import { phantomPixels } from '../support/workload.js';

const VERSION = 'v0.120.0';
const SIZE = 256;
/** Less than one core can serve, so that no queue is measured. */
const RATE_PER_SECOND = 5;

interface Percentiles {
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
}

export async function benchGhz({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const ghz = installGhz();
  const plan = planCores();
  const total = quick ? 20 : 200;
  const repeats = quick ? 1 : 3;
  return withCores(plan.client, async () => {
    const server = await startSalad({
      models: shippedModels(),
      cores: plan.server,
      environment: NO_QUEUE_LIMIT,
    });
    try {
      await measureSalad(server.address, 10);
      const saladRuns: Percentiles[] = [];
      const ghzRuns: Percentiles[] = [];
      for (let repeat = 0; repeat < repeats; repeat++) {
        saladRuns.push(await measureSalad(server.address, total));
        ghzRuns.push(measureGhz(ghz, server.address, plan.client, total));
      }
      const compare = (pick: (run: Percentiles) => number) => {
        const [saladMs, ghzMs] = [median(saladRuns.map(pick)), median(ghzRuns.map(pick))];
        return { saladMs, ghzMs, ratio: saladMs / ghzMs };
      };
      return {
        ratePerSecond: RATE_PER_SECOND,
        requests: total,
        repeats,
        p50: compare((run) => run.p50Ms),
        p90: compare((run) => run.p90Ms),
        p99: compare((run) => run.p99Ms),
      };
    } finally {
      await server.stop();
    }
  });
}

/** Measures like the load generator: from the scheduled start, whenever the call was really made. */
async function measureSalad(address: string, total: number): Promise<Percentiles> {
  const client = new SaladClient(address);
  const raw = phantomPixels(SIZE);
  const header = {
    acquisitionId: 'bench',
    model: { name: 'phantom' },
    image: { rows: SIZE, columns: SIZE, bitsAllocated: 8 },
  };
  const latencies = new Latencies();
  const running: Promise<void>[] = [];
  const startMs = performance.now() + 100;
  for (let request = 0; request < total; request++) {
    const scheduledMs = startMs + (1000 * request) / RATE_PER_SECOND;
    await sleep(Math.max(0, scheduledMs - performance.now()));
    const call = client.scoreImage(header, { raw }, { retry: false, timeoutMs: 60_000 });
    running.push(call.then(() => latencies.add(performance.now() - scheduledMs)));
  }
  await Promise.all(running);
  client.close();
  return latencies.summary();
}

function measureGhz(ghz: string, address: string, cores: string, total: number): Percentiles {
  const proto = join(packageRoot(), 'proto');
  const data = join(packageRoot(), '.cache/peers/ghz-data.json');
  const header = {
    acquisition_id: 'bench',
    model: { name: 'phantom' },
    image: { rows: SIZE, columns: SIZE, bits_allocated: 8 },
  };
  writeFileSync(data, JSON.stringify({ header, raw: Buffer.from(phantomPixels(SIZE)).toString('base64') }));
  const numbers = ['--rps', String(RATE_PER_SECOND), '--total', String(total), '--concurrency', '8'];
  const call = ['--call', 'salad.v1.AnomalyScoring/ScoreImage', '--data-file', data, ...numbers];
  const types = ['--proto', join(proto, 'salad/v1/anomaly_scoring.proto'), '--import-paths', proto];
  const args = ['--insecure', ...types, ...call, '--format', 'json', address];
  const [program, programArgs] = onCores(cores, ghz, args);
  const report = JSON.parse(execFileSync(program, [...programArgs], { encoding: 'utf8' })) as {
    latencyDistribution: { percentage: number; latency: number }[];
  };
  const at = (percentage: number) =>
    (report.latencyDistribution.find((entry) => entry.percentage === percentage)?.latency ?? Number.NaN) /
    1e6;
  return { p50Ms: at(50), p90Ms: at(90), p99Ms: at(99) };
}

/** Builds ghz from the Go module proxy, once. @returns the path of the program */
function installGhz(): string {
  const folder = join(packageRoot(), '.cache/peers/ghz', VERSION);
  const program = join(folder, 'ghz');
  if (!existsSync(program)) {
    note(`bench: building ghz ${VERSION} with Go (once) ...`);
    mkdirSync(folder, { recursive: true });
    execFileSync('go', ['install', `github.com/bojand/ghz/cmd/ghz@${VERSION}`], {
      stdio: ['ignore', 2, 2],
      env: { ...process.env, GOBIN: folder },
    });
  }
  return program;
}
