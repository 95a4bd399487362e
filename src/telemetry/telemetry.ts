/**
 * What the server tells of itself, through the OpenTelemetry API: names follow the semantic conventions where there
 * are any. Without an SDK (see sdk.ts) every instrument is a no-op. Never pixels, never identifiers of an acquisition.
 */
import { type Attributes, type Histogram, metrics, type SpanContext, trace } from '@opentelemetry/api';
import type { BatchReport } from '../batching/index.js';
import type { Logger } from './logger.js';
import { METRICS, type MetricName } from './metrics.js';
import { ScoreDrift } from './score-drift.js';
import { type AcquisitionSpans, recordBatch, startAcquisition } from './traces.js';

const NAME = 'salad-serve';
type HistogramName = {
  [Name in MetricName]: (typeof METRICS)[Name] extends { readonly kind: 'histogram' } ? Name : never;
}[MetricName];

/** Read when somebody asks. */
export interface Gauges {
  readonly activeCalls: () => number;
  readonly queuedTiles: () => number;
  readonly freeSlots: () => number;
  /** Engines lost while they served, by how. */
  readonly engineLosses: () => Readonly<Record<string, number>>;
  /** By model key. */
  readonly prototypes: ReadonlyMap<string, number>;
}

/** What counts of an aggregate. Patches, ms. */
export interface AggregateFacts {
  readonly decision: string;
  readonly overallPValue: number;
  /** Normals that p-value is among. */
  readonly calibrationImages: number;
  readonly engines: readonly string[];
  readonly coverage: {
    readonly scored: number;
    readonly skipped: number;
    readonly failed: number;
    readonly missing: number;
  };
  readonly timings: {
    readonly queueMs: number;
    readonly computeMs: number;
    readonly totalMs: number;
    readonly firstScoreMs: number | undefined;
  };
}

/** One acquisition as it goes on. */
export interface AcquisitionTrace {
  /** For the batcher's reports; undefined where no trace of it is kept. */
  readonly tag: object | undefined;
  /** A message went out. @param aggregate where it was the last */
  sent(kind: string, aggregate?: AggregateFacts): void;
  /** @param error what ended it, if anything did */
  ended(error?: unknown): void;
}

export class Telemetry {
  private readonly meter = metrics.getMeter(NAME);
  private readonly tracer = trace.getTracer(NAME);
  private readonly callDuration = this.histogram('rpc.server.call.duration');
  private readonly acquisitionDuration = this.histogram('salad.acquisition.duration');
  private readonly firstScore = this.histogram('salad.acquisition.first_score.duration');
  private readonly queueDuration = this.histogram('salad.tile.queue.duration');
  private readonly batchDuration = this.histogram('salad.batch.duration');
  private readonly batchSize = this.histogram('salad.batch.size');
  private readonly pValue = this.histogram('salad.acquisition.p_value');
  private readonly patches = this.meter.createCounter('salad.patches', METRICS['salad.patches']);
  private readonly failed = new WeakMap<Error, SpanContext>();
  private readonly drifts = new Map<string, ScoreDrift>();

  constructor(private readonly logger: Logger) {}

  callEnded(method: string, status: string, ms: number): void {
    const attributes = {
      'rpc.system.name': 'grpc',
      'rpc.method': method,
      'rpc.response.status_code': status,
    };
    this.callDuration.record(ms / 1000, attributes);
  }

  batchRan(batch: BatchReport): void {
    const attributes = { 'salad.model': batch.model, 'salad.engine': batch.engine };
    this.batchSize.record(batch.tiles, { ...attributes, 'salad.release': batch.releaseReason });
    this.batchDuration.record(batch.computeMs / 1000, attributes);
    if (batch.queuedSinceByTag.size > 0) recordBatch(this.tracer, batch, attributes);
  }

  /** @param carrier the call's metadata: a client's W3C trace context goes on here */
  acquisition(carrier: Record<string, unknown>, method: string, model: string): AcquisitionTrace {
    const spans = startAcquisition(this.tracer, carrier, method, { 'salad.model': model });
    const { isRecording, context } = spans;
    return {
      tag: isRecording ? spans : undefined,
      sent: (kind, aggregate) => {
        spans.event(kind);
        if (aggregate !== undefined) this.aggregated(spans, model, aggregate);
      },
      ended: (error) => {
        spans.ended(error);
        if (isRecording && error instanceof Error) this.failed.set(error, context);
      },
    };
  }

  /** For the log line of an error that ended an acquisition: its trace, where there is one. */
  idsOf(error: unknown): Readonly<Record<string, string>> {
    const ids = error instanceof Error ? this.failed.get(error) : undefined;
    return ids === undefined ? {} : { trace_id: ids.traceId, span_id: ids.spanId };
  }

  /** To be called once, when all of it is there to be read. */
  observe(gauges: Gauges): void {
    const gauge = (name: MetricName) => this.meter.createObservableGauge(name, METRICS[name]);
    const observed = (name: MetricName, read: () => number) => {
      gauge(name).addCallback((result) => result.observe(read()));
    };
    observed('salad.calls.active', gauges.activeCalls);
    observed('salad.tiles.queued', gauges.queuedTiles);
    observed('salad.slots.free', gauges.freeSlots);
    const losses = this.meter.createObservableCounter('salad.engine.losses', METRICS['salad.engine.losses']);
    losses.addCallback((result) => {
      for (const [kind, count] of Object.entries(gauges.engineLosses())) {
        result.observe(count, { 'salad.loss': kind });
      }
    });
    const bank = gauge('salad.bank.prototypes');
    const drift = gauge('salad.score.drift');
    bank.addCallback((result) => {
      for (const [model, count] of gauges.prototypes) result.observe(count, { 'salad.model': model });
    });
    drift.addCallback((result) => {
      for (const [model, { evidence }] of this.drifts) result.observe(evidence, { 'salad.model': model });
    });
  }

  private aggregated(spans: AcquisitionSpans, model: string, aggregate: AggregateFacts): void {
    const { timings, coverage, decision, engines } = aggregate;
    const ofModel: Attributes = { 'salad.model': model };
    this.acquisitionDuration.record(timings.totalMs / 1000, { ...ofModel, 'salad.decision': decision });
    if (timings.firstScoreMs !== undefined) this.firstScore.record(timings.firstScoreMs / 1000, ofModel);
    this.queueDuration.record(timings.queueMs / 1000, ofModel);
    for (const outcome of ['scored', 'skipped', 'failed', 'missing'] as const) {
      if (coverage[outcome] > 0)
        this.patches.add(coverage[outcome], { ...ofModel, 'salad.outcome': outcome });
    }
    const attributes = {
      'salad.engines': [...engines],
      'salad.decision': decision,
      'salad.queue_ms': timings.queueMs,
      'salad.compute_ms': timings.computeMs,
      'salad.patches.scored': coverage.scored,
    };
    spans.aggregated(attributes, performance.now());
    if (decision !== 'indeterminate') this.watchDrift(model, aggregate);
  }

  private watchDrift(model: string, { overallPValue: pValue, calibrationImages }: AggregateFacts): void {
    this.pValue.record(pValue, { 'salad.model': model });
    let drift = this.drifts.get(model);
    if (drift === undefined) {
      drift = new ScoreDrift(calibrationImages);
      this.drifts.set(model, drift);
    }
    if (!drift.add(pValue)) return;
    const evidence = Number(drift.evidence.toFixed(2));
    this.logger.warn(
      { model, evidence },
      'recent images score unlike those of the calibration: recalibrate?',
    );
  }

  private histogram(name: HistogramName): Histogram {
    const { unit, description, buckets } = METRICS[name];
    const advice = { explicitBucketBoundaries: [...buckets] };
    return this.meter.createHistogram(name, { unit, description, advice });
  }
}
