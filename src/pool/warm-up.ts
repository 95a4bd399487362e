/** The curve of batch size against time, and the batches that follow from it. */

/** Candidates for the piece size, ascending; the last is also the most a slot holds. */
export const BATCH_SIZES = [1, 2, 4, 8, 16, 32] as const;

export interface BatchLatency {
  readonly batchSize: number;
  /** Shortest time of one batch: what the engine can do, whatever else the machine did at start. */
  readonly latencyMs: number;
}

/** How the tiles of a batch are run. */
export interface BatchPlan {
  /** Tiles the engine takes at once: where its throughput is best. */
  readonly pieceSize: number;
  /** Most tiles of a batch, which is run piece by piece. */
  readonly maxBatchSize: number;
}

/** Share of the best throughput that is good enough. */
const THROUGHPUT_SHARE = 0.95;
/** A piece that takes longer keeps an urgent tile waiting for too long; size 1 is always allowed. */
const PIECE_MS_MAX = 50;
/**
 * A batch costs the main thread about 0.1 ms whatever its size (a task and an answer across threads, messages out),
 * and every hop takes the caches from an engine. Pieces are gathered into batches of about this time: the price is
 * that routine scores come later by as much under load. Urgent tiles pass between pieces.
 */
const BATCH_MS = 20;

/** The smallest piece whose throughput is close to the best, and as many pieces to a batch as BATCH_MS holds. */
export function planBatches(curve: readonly BatchLatency[], capacity: number): BatchPlan {
  const usable = curve.filter(({ batchSize, latencyMs }) => batchSize === 1 || latencyMs <= PIECE_MS_MAX);
  const throughput = ({ batchSize, latencyMs }: BatchLatency) => batchSize / latencyMs;
  const best = Math.max(...usable.map(throughput));
  const piece = usable.find((point) => throughput(point) >= THROUGHPUT_SHARE * best);
  if (piece === undefined) return { pieceSize: 1, maxBatchSize: 1 };
  const pieces = Math.max(1, Math.floor(Math.min(BATCH_MS / piece.latencyMs, capacity / piece.batchSize)));
  return { pieceSize: piece.batchSize, maxBatchSize: pieces * piece.batchSize };
}

export interface MeasureOptions {
  /** Tiles a slot holds. */
  readonly capacity: number;
  /** All that is measured may take about this long; the first batch of a size, which may compile, is not. */
  readonly budgetMs: number;
  readonly now: () => number;
}

/**
 * Measures until the slot is full, the budget is spent or a batch takes a quarter of it.
 * @param run runs a batch and returns the engine's time in ms
 */
export async function measureLatencies(
  run: (batchSize: number) => Promise<number>,
  { capacity, budgetMs, now }: MeasureOptions,
): Promise<readonly BatchLatency[]> {
  const curve: BatchLatency[] = [];
  let spentMs = 0;
  for (const batchSize of BATCH_SIZES) {
    if (batchSize > capacity) break;
    await run(batchSize);
    const samples: number[] = [];
    const sizeStarted = now();
    while (samples.length < 3 || (samples.length < 15 && now() - sizeStarted < budgetMs / 12)) {
      samples.push(await run(batchSize));
    }
    spentMs += now() - sizeStarted;
    const latencyMs = Math.min(...samples);
    curve.push({ batchSize, latencyMs });
    if (spentMs > budgetMs || latencyMs > budgetMs / 4) break;
  }
  return curve;
}
