/** What the parts of the engines' suite share. */
import { median, spread } from '../support/figures.js';
import type { SourceName } from '../support/model-sources.js';
import { type RunAnswer, Runner } from './runner.js';

export interface Plan {
  readonly durationMs: number;
  readonly repeats: number;
  readonly batchSizes: readonly number[];
  /** Taskset list of the cores that all terms run on; empty = all. */
  readonly cores: string;
  readonly threads: number;
}

export type Figures = Record<string, unknown>;

/** Tiles at once where one batch size has to do: every engine is near its best there. */
export const BATCH_SIZE = 16;
/** Tiles at once where the search is measured: what a server takes of them, which for strips is one. */
export const searchBatchSize = (model: SourceName) => (model === 'phantom' ? 1 : BATCH_SIZE);
/** Prototypes of the bank whose search is compared with the encoder. */
export const BANK_ROWS = 10_000;

/** Tiles per second. */
export const rateOf = ({ tiles, ms }: RunAnswer) => (1000 * tiles) / ms;

export const summary = (values: readonly number[]) => ({ median: median(values), range: spread(values) });

/** The processor's own engines. */
export type ProcessorEngine = 'openvino' | 'onnx';

/** Those that start here, each on so many threads. */
export async function startProcessors(
  { cores }: Plan,
  threads: number,
): Promise<ReadonlyMap<ProcessorEngine, Runner>> {
  const runners = new Map<ProcessorEngine, Runner>();
  try {
    runners.set('openvino', await Runner.start({ engine: 'openvino', threads, cores }));
  } catch {
    // `oneThread` says why.
  }
  runners.set('onnx', await Runner.start({ engine: 'onnx', threads, cores }));
  return runners;
}

export async function stopAll(runners: ReadonlyMap<ProcessorEngine, Runner>): Promise<void> {
  for (const runner of runners.values()) await runner.stop();
}

/** A list of numbers for every one of these names. */
export function listsOf<K extends string>(names: Iterable<K>): Map<K, number[]> {
  return new Map([...names].map((name) => [name, []]));
}

export function summaries<K extends string>(lists: ReadonlyMap<K, readonly number[]>): Figures {
  return Object.fromEntries([...lists].map(([name, values]) => [name, summary(values)]));
}
