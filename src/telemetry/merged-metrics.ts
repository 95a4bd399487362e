/**
 * One set of metrics for several processes. Counters and histograms are summed, also those of processes that have ended,
 * because a counter must never decrease. Gauges are summed or the largest is taken, as `METRICS` says.
 */
import { DataPointType, type MetricData, type ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { METRICS, type Metric } from './metrics.js';

/** The metrics of one process, as data. */
export type CollectedMetrics = Pick<ResourceMetrics, 'scopeMetrics'>;

type ScopeMetrics = ResourceMetrics['scopeMetrics'][number];
type DataPoint = MetricData['dataPoints'][number];
type Histogram = Extract<
  MetricData,
  { dataPointType: DataPointType.HISTOGRAM }
>['dataPoints'][number]['value'];

/** Merges the metrics of processes; the data given stay as they are. */
export function mergeMetrics(collected: readonly CollectedMetrics[]): CollectedMetrics {
  const scopes = new Map<string, ScopeMetrics[]>();
  for (const each of collected.flatMap(({ scopeMetrics }) => scopeMetrics)) {
    const key = `${each.scope.name} ${each.scope.version ?? ''}`;
    scopes.set(key, [...(scopes.get(key) ?? []), each]);
  }
  return {
    scopeMetrics: [...scopes.values()].map((same) => ({
      scope: same[0]!.scope,
      metrics: mergeByName(same.flatMap(({ metrics }) => metrics)),
    })),
  };
}

/** What must be kept of a process that has ended: its counters and histograms. */
export function cumulativePart({ scopeMetrics }: CollectedMetrics): CollectedMetrics {
  return {
    scopeMetrics: scopeMetrics.map(({ scope, metrics }) => ({
      scope,
      metrics: metrics.filter((metric) => metric.dataPointType !== DataPointType.GAUGE),
    })),
  };
}

function mergeByName(metrics: readonly MetricData[]): MetricData[] {
  const byName = new Map<string, MetricData[]>();
  for (const metric of metrics) {
    const { name } = metric.descriptor;
    byName.set(name, [...(byName.get(name) ?? []), metric]);
  }
  return [...byName.values()].map((same) => mergePoints(same));
}

function mergePoints(same: readonly MetricData[]): MetricData {
  const first = same[0]!;
  const combine = combinationOf(first);
  const points = new Map<string, DataPoint>();
  for (const point of same.flatMap(({ dataPoints }) => dataPoints as DataPoint[])) {
    const key = JSON.stringify(Object.entries(point.attributes).sort());
    const earlier = points.get(key);
    points.set(key, earlier === undefined ? point : combine(earlier, point));
  }
  return { ...first, dataPoints: [...points.values()] } as MetricData;
}

function combinationOf({ descriptor, dataPointType }: MetricData): (a: DataPoint, b: DataPoint) => DataPoint {
  if (dataPointType === DataPointType.HISTOGRAM) {
    return (a, b) => ({ ...a, value: sumOf(a.value as Histogram, b.value as Histogram) });
  }
  const { combine = 'max' } = (METRICS as Readonly<Record<string, Metric>>)[descriptor.name] ?? {};
  const isSum = dataPointType === DataPointType.SUM || combine === 'sum';
  return (a, b) => {
    const [one, other] = [a.value as number, b.value as number];
    return { ...a, value: isSum ? one + other : Math.max(one, other) } as DataPoint;
  };
}

/** Both have the boundaries of `METRICS`. */
function sumOf(a: Histogram, b: Histogram): Histogram {
  return {
    ...extremes(a, b),
    sum: (a.sum ?? 0) + (b.sum ?? 0),
    count: a.count + b.count,
    buckets: {
      boundaries: a.buckets.boundaries,
      counts: a.buckets.counts.map((count, index) => count + (b.buckets.counts[index] ?? 0)),
    },
  };
}

function extremes(a: Histogram, b: Histogram): Pick<Histogram, 'min' | 'max'> {
  const min = Math.min(a.min ?? Number.POSITIVE_INFINITY, b.min ?? Number.POSITIVE_INFINITY);
  const max = Math.max(a.max ?? Number.NEGATIVE_INFINITY, b.max ?? Number.NEGATIVE_INFINITY);
  return { min, max };
}

/** The metrics of processes that come and go. */
export class ProcessMetrics {
  /** The last that was collected, by process. */
  private readonly latest = new Map<object, CollectedMetrics>();
  private ofEnded: CollectedMetrics = { scopeMetrics: [] };

  /**
   * @param processes each with what asks it for its metrics; of one that does not answer in time the last answer counts
   */
  async collect(processes: ReadonlyMap<object, () => Promise<CollectedMetrics>>): Promise<CollectedMetrics> {
    await Promise.all(
      [...processes].map(async ([process, ask]) => {
        const collected = await ask().catch(() => undefined);
        // A process that ended meanwhile counts as such already.
        if (collected !== undefined && !this.ended.has(process)) this.latest.set(process, collected);
      }),
    );
    return mergeMetrics([this.ofEnded, ...this.latest.values()]);
  }

  /** Keeps what was last collected of the process. */
  processEnded(process: object): void {
    this.ended.add(process);
    const last = this.latest.get(process);
    this.latest.delete(process);
    if (last !== undefined) this.ofEnded = mergeMetrics([this.ofEnded, cumulativePart(last)]);
  }

  private readonly ended = new WeakSet<object>();
}
