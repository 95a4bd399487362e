import assert from 'node:assert/strict';
import { core, tracing } from '@opentelemetry/sdk-node';
import { recordBatch, startAcquisition } from '../../../src/telemetry/traces.js';

const { InMemorySpanExporter, SimpleSpanProcessor } = tracing;

/** Waits for a fraction of a millisecond without the event loop, so that the last digits of the two clocks differ. */
function spin(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

describe('spans of an acquisition', () => {
  it('lie inside their parents at every fraction of a millisecond of the system clock', async () => {
    const exporter = new InMemorySpanExporter();
    const provider = new tracing.BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
    const tracer = provider.getTracer('test');
    for (let index = 0; index < 200; index += 1) {
      const spans = startAcquisition(tracer, {}, 'ScoreImage', {});
      const dispatchedAt = performance.now();
      spin(0.13);
      const finishedAt = performance.now();
      const run = { engine: 'onnx', precision: 'float32', computeMs: 0.1 } as const;
      const batch = {
        ...run,
        model: 'm',
        tiles: 1,
        maxTiles: 1,
        releaseReason: 'slot',
        dispatchedAt,
        finishedAt,
      } as const;
      recordBatch(tracer, { ...batch, queuedSinceByTag: new Map([[spans, dispatchedAt]]) }, {});
      spans.event('aggregate');
      spans.aggregated({}, performance.now());
      spans.ended(undefined);
    }
    await provider.forceFlush();

    const all = exporter.getFinishedSpans();
    const acquisitions = new Map(
      all.filter(({ name }) => name === 'ScoreImage').map((span) => [span.spanContext().spanId, span]),
    );
    const nanos = (time: [number, number]) => BigInt(time[0]) * 1_000_000_000n + BigInt(time[1]);
    let children = 0;
    for (const { name, parentSpanContext, startTime, endTime } of all) {
      const parent = acquisitions.get(parentSpanContext?.spanId ?? '');
      if (!parent) continue;
      children += 1;
      assert.ok(nanos(startTime) <= nanos(endTime), name);
      assert.ok(nanos(startTime) >= nanos(parent.startTime), `${name} starts before its acquisition`);
      assert.ok(nanos(endTime) <= nanos(parent.endTime), `${name} ends after its acquisition`);
    }
    assert.equal(children, 3 * 200);
    const [last] = [...acquisitions.values()].slice(-1);
    const age = Date.now() - core.hrTimeToMilliseconds(last?.endTime ?? [0, 0]);
    assert.ok(age >= -5 && age < 5000, `an acquisition that ended ${age} ms ago`);
  });
});
