/**
 * The DICOM gateway with the programs of others: from storescu to the structured report at Orthanc; the rate of reception,
 * with fsync, compared with DCMTK's storescp, which syncs nothing; memory while mammograms are queued, scored and delivered.
 * Linux only.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { shippedModels } from '../../src/util/package-root.js';
import { type Files, NAMES, type Name, SYNTAXES, writeFiles } from '../modality/files.js';
import { measureMemory } from '../modality/memory.js';
import { ensurePrograms, startGateway, startOrthanc, startStorescp, storescu } from '../modality/programs.js';
import { median, spread } from '../support/figures.js';
import type { BenchOptions } from '../support/options.js';
import { benchEngine, startSalad } from '../support/server-process.js';

const MODEL = 'phantom';
interface Plan {
  /** Rows and columns of a radiograph, and of a mammogram. */
  readonly radiograph: readonly [number, number];
  readonly mammogram: readonly [number, number];
  readonly rounds: number;
  /** Instances of one association in the comparison with storescp. */
  readonly sent: number;
  readonly queued: number;
}

const FULL: Plan = { radiograph: [2500, 2000], mammogram: [4096, 3328], rounds: 7, sent: 20, queued: 50 };
const QUICK: Plan = { radiograph: [400, 320], mammogram: [512, 416], rounds: 1, sent: 3, queued: 3 };

type Figures = Record<string, unknown>;

export async function benchModality({ quick }: BenchOptions): Promise<Figures> {
  ensurePrograms();
  const plan = quick ? QUICK : FULL;
  const folder = await mkdtemp(join(tmpdir(), 'salad-bench-modality-'));
  const server = await startSalad({ models: shippedModels(), cores: '' });
  try {
    const settings = { server: { targets: [server.address], model: MODEL } };
    const files = await writeFiles(join(folder, 'radiographs'), plan.radiograph);
    const sendToReport = await timeReports(join(folder, 'reports'), settings, files, plan);
    const ingest = await compareIngest(join(folder, 'ingest'), files, plan);
    const mammograms = await writeFiles(join(folder, 'mammograms'), plan.mammogram);
    const memory: Figures = {};
    for (const name of ['raw', 'jpeg2000'] as const) {
      const at = join(folder, `memory-${name}`);
      memory[name] = await measureMemory(at, settings, mammograms[name], name, plan.queued);
    }
    return {
      ...{ model: MODEL, engine: benchEngine(), rounds: plan.rounds },
      radiograph: `${plan.radiograph.join(' x ')}, 12 bit`,
      sendToReportSeconds: sendToReport,
      ingestSeconds: ingest,
      mammogram: `${plan.queued} of ${plan.mammogram.join(' x ')}, 12 bit`,
      peakMiB: memory,
    };
  } finally {
    await server.stop();
    await rm(folder, { recursive: true });
  }
}

/** From the start of storescu, a new process, until the report is at the archive. */
async function timeReports(
  folder: string,
  settings: object,
  files: Files,
  { rounds }: Plan,
): Promise<Figures> {
  const archive = await startOrthanc(join(folder, 'archive'));
  const destinations = [{ name: 'archive', url: archive.dicomWeb }];
  const gateway = await startGateway(folder, { ...settings, destinations });
  try {
    const seconds: Record<Name, number[]> = { raw: [], jpegLossless: [], jpeg2000: [] };
    // The first round warms up.
    for (let round = 0; round <= rounds; round++) {
      for (const name of NAMES) {
        const before = await archive.instances();
        const began = performance.now();
        await storescu(gateway.port, files[name], 1, SYNTAXES[name].proposal);
        while ((await archive.instances()) === before) await sleep(5);
        if (round > 0) seconds[name].push((performance.now() - began) / 1000);
      }
    }
    return Object.fromEntries(
      NAMES.map((name) => [name, { median: median(seconds[name]), spread: spread(seconds[name]) }]),
    );
  } finally {
    await gateway.stop();
    await archive.stop();
  }
}

/** Seconds of storescu for `sent` instances, to the gateway without a server and to storescp, in turns. */
async function compareIngest(folder: string, files: Files, { rounds, sent }: Plan): Promise<Figures> {
  const figures: Figures = { instances: sent };
  for (const name of NAMES) {
    const { proposal } = SYNTAXES[name];
    const [ours, theirs]: [number[], number[]] = [[], []];
    // A fresh folder for each round, so that neither has more files than the other.
    for (let round = 0; round <= rounds; round++) {
      const at = join(folder, `${name}-${round}`);
      const gateway = await startGateway(join(at, 'gateway'), {});
      const storescp = await startStorescp(join(at, 'storescp'));
      const own = await storescu(gateway.port, files[name], sent, proposal);
      const other = await storescu(storescp.port, files[name], sent, proposal);
      await Promise.all([gateway.stop(), storescp.stop()]);
      await rm(at, { recursive: true });
      if (round === 0) continue;
      ours.push(own);
      theirs.push(other);
    }
    figures[name] = {
      ...{ gateway: median(ours), gatewaySpread: spread(ours) },
      ...{ storescp: median(theirs), storescpSpread: spread(theirs) },
      'storescp / gateway': median(theirs) / median(ours),
    };
  }
  return figures;
}
