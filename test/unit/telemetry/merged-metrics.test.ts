import assert from 'node:assert/strict';
import { AggregationTemporality, MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import { describe, it } from 'mocha';
import {
  type CollectedMetrics,
  mergeMetrics,
  ProcessMetrics,
} from '../../../src/telemetry/merged-metrics.js';

class Reader extends MetricReader {
  protected async onForceFlush(): Promise<void> {}
  protected async onShutdown(): Promise<void> {}
}

/** What a process records, as the SDK collects it. */
async function collected(times: readonly number[], gauges: Readonly<Record<string, number>>) {
  const reader = new Reader({ aggregationTemporalitySelector: () => AggregationTemporality.CUMULATIVE });
  const meter = new MeterProvider({ readers: [reader] }).getMeter('salad-serve');
  const histogram = meter.createHistogram('salad.batch.duration', {
    advice: { explicitBucketBoundaries: [1, 2] },
  });
  const counter = meter.createCounter('salad.patches');
  for (const time of times) {
    histogram.record(time, { 'salad.model': 'a@1', 'salad.engine': 'onnx' });
    counter.add(1, { 'salad.outcome': time > 1 ? 'failed' : 'scored' });
  }
  for (const [name, value] of Object.entries(gauges)) {
    meter.createObservableGauge(name).addCallback((result) => result.observe(value));
  }
  const { scopeMetrics } = (await reader.collect()).resourceMetrics;
  // As it comes from another process.
  return structuredClone({ scopeMetrics }) as CollectedMetrics;
}

/** Values by metric and attributes. */
function values({ scopeMetrics }: CollectedMetrics): Readonly<Record<string, unknown>> {
  const points = scopeMetrics.flatMap(({ metrics }) =>
    metrics.flatMap(({ descriptor, dataPoints }) =>
      dataPoints.map(({ attributes, value }) => [
        [descriptor.name, ...Object.values(attributes)].join(' '),
        typeof value === 'number'
          ? value
          : { sum: value.sum, counts: (value as { buckets: { counts: number[] } }).buckets.counts },
      ]),
    ),
  );
  return Object.fromEntries(points) as Record<string, unknown>;
}

const HISTOGRAM = 'salad.batch.duration a@1 onnx';

describe('merged metrics', () => {
  it('sum counters and histograms, and gauges as the table of metrics says', async () => {
    const one = await collected([0.5, 3], { 'salad.tiles.queued': 3, 'salad.score.drift': 1, other: 5 });
    const other = await collected([1.5], { 'salad.tiles.queued': 4, 'salad.score.drift': 2, other: 4 });
    assert.deepEqual(values(mergeMetrics([one, other])), {
      [HISTOGRAM]: { sum: 5, counts: [1, 1, 1] },
      'salad.patches scored': 1,
      'salad.patches failed': 2,
      'salad.tiles.queued': 7,
      'salad.score.drift': 2,
      other: 5,
    });
    assert.equal((values(one)[HISTOGRAM] as { sum: number }).sum, 3.5, 'the data given were changed');
  });

  it('never decrease where a process ends: what was last collected of it counts on, without its gauges', async () => {
    const metrics = new ProcessMetrics();
    const [first, second, third] = [{}, {}, {}];
    const one = await collected([0.5], { 'salad.tiles.queued': 3 });
    const other = await collected([1.5], { 'salad.tiles.queued': 4 });
    const none = () => Promise.reject(new Error('it is busy'));
    await metrics.collect(
      new Map([
        [first, async () => one],
        [second, async () => other],
      ]),
    );
    metrics.processEnded(first);
    const left = values(await metrics.collect(new Map([[second, none]])));
    assert.deepEqual(left[HISTOGRAM], { sum: 2, counts: [1, 1, 0] });
    assert.equal(left['salad.tiles.queued'], 4);
    const again = values(
      await metrics.collect(
        new Map([
          [second, none],
          [third, async () => one],
        ]),
      ),
    );
    assert.deepEqual(again[HISTOGRAM], { sum: 2.5, counts: [2, 1, 0] });
  });
});
