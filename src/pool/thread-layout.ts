/** How an engine uses the cores: a session on each, side by side, or one session on all of them. */
import type { BatchLatency } from './warm-up.js';
import type { WorkerSet, WorkerSetOptions } from './worker-set.js';

/** Ms of a tile, with all cores at work. */
export interface LayoutTimes {
  /** Of all models the one whose tiles take longest. */
  readonly model: string;
  readonly sessionsMsPerTile: number;
  readonly oneSessionMsPerTile: number;
}

/**
 * The threads of one session wait for each other wherever the port's thread or a neighbour takes a core, which a warm-up
 * does not show: two cores scored 12 instead of 77 images a second so. One session has to be twice as fast.
 */
const CLEARLY = 0.5;

export function prefersOneSession({ sessionsMsPerTile, oneSessionMsPerTile }: LayoutTimes): boolean {
  return oneSessionMsPerTile < CLEARLY * sessionsMsPerTile;
}

/**
 * Measured where nobody chose: neither workers nor threads, an engine whose sessions can have several, more cores
 * than one, and a bank small enough to be loaded once more (searched exactly in the graph).
 */
export async function compareLayouts(
  set: WorkerSet,
  options: Pick<WorkerSetOptions, 'workers' | 'sessionThreads'>,
): Promise<LayoutTimes | undefined> {
  const chosen = options.workers > 0 || (options.sessionThreads ?? 0) > 0;
  if (chosen || !set.threaded || set.workerCount < 2) return undefined;
  const [slowest] = [...set.statuses]
    .filter(([, { search, curve }]) => search === 'exact' && curve.length > 0)
    .map(([model, status]) => ({ model, status, ms: msPerTile(set, status.curve) }))
    .sort((a, b) => b.ms - a.ms);
  if (slowest === undefined) return undefined;
  const { model, status, ms } = slowest;
  const counts = [...new Set([status.pieceSize, status.maxBatchSize])];
  const oneSessionMsPerTile = await set.timeSession(model, counts, set.workerCount);
  return { model, sessionsMsPerTile: ms, oneSessionMsPerTile };
}

/** The curve is that of one worker while all were busy. */
function msPerTile({ workerCount }: WorkerSet, curve: readonly BatchLatency[]): number {
  return Math.min(...curve.map(({ batchSize, latencyMs }) => latencyMs / batchSize)) / workerCount;
}
