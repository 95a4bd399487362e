/** Settings and helpers that the measurements of suite `engines` share. */
import { median, spread } from '../support/figures.js';
import type { SourceName } from '../support/model-sources.js';
import { type RunAnswer, Runner } from './runner.js';

export interface Plan {
  readonly durationMs: number;
  readonly repeats: number;
  readonly batchSizes: readonly number[];
  /** Taskset list of the cores on which everything is measured; empty: all cores. */
  readonly cores: string;
  readonly threads: number;
}

export type Figures = Record<string, unknown>;

/** Batch size of measurements with only one: every engine is near its best rate with it. */
export const BATCH_SIZE = 16;
/** Batch size for measuring the search, as a server would use it; for strips it is one. */
export const searchBatchSize = (model: SourceName) => (model === 'phantom' ? 1 : BATCH_SIZE);
/** Prototypes of the bank whose search is compared with the encoder. */
export const BANK_ROWS = 10_000;

/** Tiles per second. */
export const rateOf = ({ tiles, ms }: RunAnswer) => (1000 * tiles) / ms;

export const summary = (values: readonly number[]) => ({ median: median(values), range: spread(values) });

/** The native CPU engines. */
export type CpuEngine = 'openvino' | 'onnx';

/** Starts the CPU engines that work on this machine. @param threads of each */
export async function startCpuEngines(
  { cores }: Plan,
  threads: number,
): Promise<ReadonlyMap<CpuEngine, Runner>> {
  const runners = new Map<CpuEngine, Runner>();
  try {
    runners.set('openvino', await Runner.start({ engine: 'openvino', threads, cores }));
  } catch {
    // The results have the reason under `oneThread`.
  }
  try {
    runners.set('onnx', await Runner.start({ engine: 'onnx', threads, cores }));
  } catch (error) {
    await stopAll(runners);
    throw error;
  }
  return runners;
}

export async function stopAll(runners: ReadonlyMap<CpuEngine, Runner>): Promise<void> {
  for (const runner of runners.values()) await runner.stop();
}

/** Creates an empty list of numbers for each name. */
export function listsOf<K extends string>(names: Iterable<K>): Map<K, number[]> {
  return new Map([...names].map((name) => [name, []]));
}

export function summaries<K extends string>(lists: ReadonlyMap<K, readonly number[]>): Figures {
  return Object.fromEntries([...lists].map(([name, values]) => [name, summary(values)]));
}
