/** Compares the encoders alone with the peak rate of fused multiply-adds, alternately on all cores. */
import { median, spread } from '../support/figures.js';
import { benchSource, SOURCE_NAMES, type SourceName } from '../support/model-sources.js';
import { convolutionShare } from './convolution-share.js';
import { buildPeakProbe } from './peak.js';
import {
  BATCH_SIZE,
  type Figures,
  listsOf,
  type Plan,
  rateOf,
  startCpuEngines,
  stopAll,
  summaries,
} from './plan.js';

export async function measurePeak(plan: Plan, macs: Partial<Record<SourceName, number>>): Promise<Figures> {
  const { durationMs, repeats, cores, threads } = plan;
  const probe = buildPeakProbe();
  if (probe.probe === null) return { measured: false, reason: probe.reason };
  const runners = await startCpuEngines(plan, threads);
  try {
    const peaks: number[] = [];
    const peak = () => {
      const gigaFlops = probe.measure(threads, durationMs / 1000, cores);
      peaks.push(gigaFlops);
      return gigaFlops;
    };
    const shares = new Map([...runners.keys()].map((engine) => [engine, listsOf(SOURCE_NAMES)]));
    for (let repeat = 0; repeat < repeats; repeat++) {
      for (const model of SOURCE_NAMES) {
        let before = peak();
        for (const [engine, runner] of runners) {
          const tiles = rateOf(await runner.run({ model, bank: 'none', batchSize: BATCH_SIZE, durationMs }));
          const after = peak();
          shares
            .get(engine)!
            .get(model)!
            .push((2e-9 * tiles * macs[model]!) / ((before + after) / 2));
          before = after;
        }
      }
    }
    const convolutions: Partial<Record<SourceName, Figures>> = {};
    for (const [name, list] of shares.get('onnx')!) {
      const share = await convolutionShare(await benchSource(name, 'none'), BATCH_SIZE, 4 * repeats);
      convolutions[name] = { shareOfEncoderTime: share, shareOfPeak: median(list) / share };
    }
    return {
      probe: probe.probe,
      gigaFlops: median(peaks),
      gigaFlopsRange: spread(peaks),
      // Operations of the convolutions over the time of the whole encoder, as a share of the peak rate.
      encoderShareOfPeak: Object.fromEntries(
        [...shares].map(([engine, lists]) => [engine, summaries(lists)]),
      ),
      // The same operations over only the time that onnxruntime spends in convolutions.
      onnxConvolutions: convolutions,
    };
  } finally {
    await stopAll(runners);
  }
}
