/** Measures the cost of the search and the gain of reduced precision: one thread, alternately, in one process. */
import { hasBfloat16, type Precision } from '../../src/network/precision.js';
import { median } from '../support/figures.js';
import { type BankChoice, SOURCE_NAMES } from '../support/model-sources.js';
import {
  BANK_ROWS,
  BATCH_SIZE,
  type CpuEngine,
  type Figures,
  type Plan,
  rateOf,
  searchBatchSize,
  startCpuEngines,
  stopAll,
  summary,
} from './plan.js';
import type { Runner } from './runner.js';

/** Runs a measurement for every CPU engine, on one thread. */
async function measureEachEngine(
  plan: Plan,
  measure: (runner: Runner, engine: CpuEngine) => Promise<Figures>,
): Promise<Figures> {
  const runners = await startCpuEngines(plan, 1);
  try {
    const figures: Figures = {};
    for (const [engine, runner] of runners) figures[engine] = await measure(runner, engine);
    return figures;
  } finally {
    await stopAll(runners);
  }
}

/** Time per tile with a memory bank over the time without, minus one. */
export function measureSearch(plan: Plan): Promise<Figures> {
  const { durationMs, repeats } = plan;
  return measureEachEngine(plan, async (runner) => {
    const figures: Figures = { prototypes: BANK_ROWS };
    for (const model of SOURCE_NAMES) {
      const run = async (bank: BankChoice) => {
        const batchSize = searchBatchSize(model);
        const { ms, tiles } = await runner.run({ model, bank, batchSize, durationMs });
        return ms / tiles;
      };
      const added: number[] = [];
      let before = await run('none');
      for (let repeat = 0; repeat < repeats; repeat++) {
        const withBank = await run(BANK_ROWS);
        const after = await run('none');
        added.push(withBank / ((before + after) / 2) - 1);
        before = after;
      }
      figures[model] = { encoderMsPerTile: before, addedShare: summary(added) };
    }
    return figures;
  });
}

/** Throughput in bfloat16 over that in float32, encoders alone. */
export function measurePrecisions(plan: Plan): Promise<Figures> {
  const { durationMs, repeats } = plan;
  return measureEachEngine(plan, async (runner, engine) => {
    if (engine !== 'openvino' || !hasBfloat16()) return {};
    const ofModel: Figures = {};
    for (const model of SOURCE_NAMES) {
      const run = async (precision: Precision) =>
        rateOf(await runner.run({ model, bank: 'none', precision, batchSize: BATCH_SIZE, durationMs }));
      const [float32, reduced]: [number[], number[]] = [[], []];
      for (let repeat = 0; repeat < repeats; repeat++) {
        float32.push(await run('float32'));
        reduced.push(await run('bfloat16'));
      }
      ofModel[model] = {
        float32TilesPerSecond: median(float32),
        tilesPerSecond: median(reduced),
        overFloat32: summary(reduced.map((rate, turn) => rate / float32[turn]!)),
      };
    }
    return { bfloat16: ofModel };
  });
}
