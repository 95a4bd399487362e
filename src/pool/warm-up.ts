/** Measures the time of a batch by its size, and chooses the sizes of pieces and batches from it. */

/** Candidates for the piece size, ascending; the last is also the largest capacity of a slot. */
export const BATCH_SIZES = [1, 2, 4, 8, 16, 32] as const;

export interface BatchLatency {
  readonly batchSize: number;
  /** Shortest time of one batch, which other work on the machine at start disturbs least. */
  readonly latencyMs: number;
}

/** How the tiles of a batch are run. */
export interface BatchPlan {
  /** Tiles of one engine call: the size of (nearly) the best throughput. */
  readonly pieceSize: number;
  /** Most tiles of a batch, which is run piece by piece. */
  readonly maxBatchSize: number;
}

/** Least share of the best throughput that a piece size must reach. */
const THROUGHPUT_SHARE_MIN = 0.95;
/** An urgent tile waits for the piece that runs, at most about this long. Size 1 is always allowed. */
const PIECE_MS_MAX = 50;
/**
 * Time of a batch, which consists of as many pieces as fit. A batch of any size costs the main thread about 0.1 ms (a
 * task and an answer across threads, messages to clients), and every message between threads costs the engine cached
 * data. The price of larger batches is that routine scores come later by as much under load. Urgent tiles run between
 * pieces.
 */
const BATCH_MS = 20;

/** The smallest piece whose throughput is close to the best, and as many pieces in a batch as BATCH_MS allows. */
export function planBatches(curve: readonly BatchLatency[], capacity: number): BatchPlan {
  const usable = curve.filter(({ batchSize, latencyMs }) => batchSize === 1 || latencyMs <= PIECE_MS_MAX);
  const throughput = ({ batchSize, latencyMs }: BatchLatency) => batchSize / latencyMs;
  const best = Math.max(...usable.map(throughput));
  const piece = usable.find((point) => throughput(point) >= THROUGHPUT_SHARE_MIN * best);
  if (piece === undefined) return { pieceSize: 1, maxBatchSize: 1 };
  const pieces = Math.max(1, Math.floor(Math.min(BATCH_MS / piece.latencyMs, capacity / piece.batchSize)));
  return { pieceSize: piece.batchSize, maxBatchSize: pieces * piece.batchSize };
}

/** The plan of another set, within the capacity of a slot. */
export function planWithin({ pieceSize, maxBatchSize }: BatchPlan, capacity: number): BatchPlan {
  return { pieceSize: Math.min(pieceSize, capacity), maxBatchSize: Math.min(maxBatchSize, capacity) };
}

export interface MeasureOptions {
  /** Tiles that a slot holds. */
  readonly capacity: number;
  /** About how long all measured batches may take. The first batch of a size may compile and is not measured. */
  readonly budgetMs: number;
  /** In ms. @default performance.now */
  readonly now?: () => number;
}

/**
 * Measures sizes up to the capacity, until the budget is spent or a batch takes a quarter of it.
 * @param run runs a batch and returns the engine's time in ms
 */
export async function measureLatencies(
  run: (batchSize: number) => Promise<number>,
  { capacity, budgetMs, now = () => performance.now() }: MeasureOptions,
): Promise<readonly BatchLatency[]> {
  const curve: BatchLatency[] = [];
  let spentMs = 0;
  for (const batchSize of BATCH_SIZES) {
    if (batchSize > capacity) break;
    await run(batchSize);
    const samples: number[] = [];
    const startedAt = now();
    while (samples.length < 3 || (samples.length < 15 && now() - startedAt < budgetMs / 12)) {
      samples.push(await run(batchSize));
    }
    spentMs += now() - startedAt;
    const latencyMs = Math.min(...samples);
    curve.push({ batchSize, latencyMs });
    if (spentMs > budgetMs || latencyMs > budgetMs / 4) break;
  }
  return curve;
}

export interface MeasureModelOptions extends MeasureOptions {
  /** Whether the settings give the batch size: a batch of one tile is then measured, and the plan is the capacity. */
  readonly isSizeGiven: boolean;
}

/**
 * Measures a model and plans its batches.
 * @param run as of `measureLatencies`
 */
export async function measureModel(
  run: (batchSize: number) => Promise<number>,
  { isSizeGiven, ...options }: MeasureModelOptions,
): Promise<BatchPlan & { readonly curve: readonly BatchLatency[] }> {
  const { capacity } = options;
  const curve = await measureLatencies(run, { ...options, budgetMs: isSizeGiven ? 0 : options.budgetMs });
  const plan = isSizeGiven ? { pieceSize: capacity, maxBatchSize: capacity } : planBatches(curve, capacity);
  return { ...plan, curve };
}
