/** Part `curve`: tiles per second over batch sizes on the webgpu engine, and the share of the device's peak. */
import { join } from 'node:path';
import { readBundle } from '../../src/bundle/bundle.js';
import { Runner } from '../engines/runner.js';
import { convolutionMacs } from '../support/macs.js';
import type { BundleFolder } from '../support/model-sources.js';
import type { Figures } from './report.js';
import type { Part, RunContext } from './run.js';

const BATCH_SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
const DURATION_MS = 700;

export const curve: Part = {
  name: 'curve',
  seconds: 120,
  async run(context, record, signal) {
    const runner = await Runner.start({ engine: 'webgpu', threads: 1, cores: '', signal });
    try {
      record({ device: runner.device });
      for (const bundle of context.bundles) {
        await curveOf(context, runner, bundle, (figures) => record({ [bundle]: figures }));
      }
    } finally {
      await runner.stop();
    }
  },
};

async function curveOf(
  context: RunContext,
  runner: Runner,
  bundle: string,
  record: (figures: Figures) => void,
): Promise<void> {
  const directory = join(context.models, bundle) as BundleFolder;
  const macs = convolutionMacs((await readBundle(directory)).network);
  const figures: Figures = { convolutionMacsPerTile: macs };
  let bestBatchSize = 1;
  const rates: Record<number, number> = {};
  for (const batchSize of context.quick ? [1, 2] : BATCH_SIZES) {
    try {
      rates[batchSize] = await rateOf('own', batchSize);
    } catch (error) {
      // Such as a buffer above the device's limit: larger batches would fail too.
      figures['firstFailure'] = { batchSize, reason: error instanceof Error ? error.message : String(error) };
      record(figures);
      break;
    }
    if (rates[batchSize] >= rates[bestBatchSize]!) bestBatchSize = batchSize;
    record(Object.assign(figures, { tilesPerSecond: rates, bestBatchSize }));
  }
  const bestRate = rates[bestBatchSize];
  if (bestRate === undefined) return;
  const encoderRate = await rateOf('none', bestBatchSize);
  const peak = context.resultsOf('peak')['gigaFlops'];
  const shareOf = (rate: number) => (typeof peak === 'number' ? (2e-9 * macs * rate) / peak : null);
  record(
    Object.assign(figures, {
      encoderTilesPerSecond: encoderRate,
      // Operations of the convolutions over the time of the whole batch, as a share of the peak.
      shareOfPeak: shareOf(bestRate),
      encoderShareOfPeak: shareOf(encoderRate),
    }),
  );

  async function rateOf(bank: 'own' | 'none', batchSize: number): Promise<number> {
    const durationMs = context.quick ? 100 : DURATION_MS;
    const { tiles, ms } = await runner.run({ model: directory, bank, batchSize, durationMs });
    return (1000 * tiles) / ms;
  }
}
