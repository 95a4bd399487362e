/** The curve of batch size against time, and where its knee is. */

/** Candidates for the batch limit, ascending. */
export const BATCH_SIZES = [1, 2, 4, 8, 16, 32] as const;

export interface BatchLatency {
  readonly batchSize: number;
  /** Shortest time of one batch: what the engine can do, whatever else the machine did at start. */
  readonly latencyMs: number;
}

export interface KneeOptions {
  /** Share of the best throughput that is good enough. */
  readonly throughputShare: number;
  /** A batch that takes longer keeps an urgent tile waiting for too long; size 1 is always allowed. */
  readonly latencyMsMax: number;
  /**
   * CPU time the main thread spends on a batch whatever its size: a task and an answer across threads, and the
   * messages its scores leave in. No latency shows it while the main thread has a core of its own.
   */
  readonly dispatchMs: number;
}

export const KNEE_DEFAULTS: KneeOptions = {
  throughputShare: 0.97,
  latencyMsMax: 100,
  // Measured: docs/performance.md.
  dispatchMs: 0.12,
};

/** The smallest batch size whose throughput is within `throughputShare` of the best. */
export function kneeOf(curve: readonly BatchLatency[], options: KneeOptions = KNEE_DEFAULTS): number {
  const usable = curve.filter(
    ({ batchSize, latencyMs }) => batchSize === 1 || latencyMs <= options.latencyMsMax,
  );
  const throughput = ({ batchSize, latencyMs }: BatchLatency) => batchSize / (latencyMs + options.dispatchMs);
  const best = Math.max(...usable.map(throughput));
  const knee = usable.find((point) => throughput(point) >= options.throughputShare * best);
  return knee?.batchSize ?? 1;
}

export interface MeasureOptions {
  /** Tiles a slot holds. */
  readonly capacity: number;
  /** The whole curve may take about this long. */
  readonly budgetMs: number;
  readonly now: () => number;
}

/** Measures until the slot is full, the budget is spent or a batch takes a quarter of it. */
export async function measureLatencies(
  run: (batchSize: number) => Promise<void>,
  { capacity, budgetMs, now }: MeasureOptions,
): Promise<readonly BatchLatency[]> {
  const curve: BatchLatency[] = [];
  const started = now();
  for (const batchSize of BATCH_SIZES) {
    if (batchSize > capacity) break;
    await run(batchSize);
    const samples: number[] = [];
    const sizeStarted = now();
    while (samples.length < 3 || (samples.length < 15 && now() - sizeStarted < budgetMs / 12)) {
      const before = now();
      await run(batchSize);
      samples.push(now() - before);
    }
    const latencyMs = Math.min(...samples);
    curve.push({ batchSize, latencyMs });
    if (now() - started > budgetMs || latencyMs > budgetMs / 4) break;
  }
  return curve;
}
