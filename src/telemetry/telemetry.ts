/**
 * What the server tells of itself, through the OpenTelemetry API: names follow the semantic conventions where there
 * are any. Without an SDK (see sdk.ts) every instrument is a no-op. Never pixels, never identifiers of an acquisition.
 */
import { type Attributes, type Histogram, metrics, type SpanContext, trace } from '@opentelemetry/api';
import type { Logger } from './logger.js';
import { ScoreDrift } from './score-drift.js';
import { type AcquisitionSpans, type BatchFacts, recordBatch, startAcquisition } from './traces.js';

const NAME = 'salad-serve';
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const SIZES = [1, 2, 4, 8, 16, 32, 64];
const SHARES = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1];

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
  private readonly callDuration = this.seconds('rpc.server.call.duration', 'Duration of inbound calls.');
  private readonly acquisitionDuration = this.seconds(
    'salad.acquisition.duration',
    'From the header to the aggregate.',
  );
  private readonly firstScore = this.seconds(
    'salad.acquisition.first_score.duration',
    'From the header to the first patch score.',
  );
  private readonly queueDuration = this.seconds(
    'salad.tile.queue.duration',
    'From ready to dispatched, mean over the tiles of an acquisition.',
  );
  private readonly batchDuration = this.seconds('salad.batch.duration', 'Engine time of a batch.');
  private readonly batchSize = this.histogram('salad.batch.size', '{tile}', 'Tiles of a batch.', SIZES);
  private readonly pValue = this.histogram(
    'salad.acquisition.p_value',
    '1',
    'Conformal p-values of image scores; uniform while images are like those of the calibration.',
    SHARES,
  );
  private readonly patches = this.meter.createCounter('salad.patches', {
    unit: '{patch}',
    description: 'Patches by outcome: scored, skipped as background, failed, missing.',
  });
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

  batchRan(batch: BatchFacts): void {
    const attributes = { 'salad.model': batch.model, 'salad.engine': batch.engine };
    this.batchSize.record(batch.tiles, { ...attributes, 'salad.release': batch.release });
    this.batchDuration.record(batch.computeMs / 1000, attributes);
    if (batch.riders.size > 0) recordBatch(this.tracer, batch, attributes);
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
    const gauge = (name: string, unit: string, description: string, read: () => number) => {
      this.meter.createObservableGauge(name, { unit, description }).addCallback((result) => {
        result.observe(read());
      });
    };
    gauge('salad.calls.active', '{call}', 'Calls in progress.', gauges.activeCalls);
    gauge('salad.tiles.queued', '{tile}', 'Tiles that wait for an engine.', gauges.queuedTiles);
    gauge('salad.slots.free', '{slot}', 'Batch slots that nobody fills, runs or reads.', gauges.freeSlots);
    const losses = this.meter.createObservableCounter('salad.engine.losses', {
      unit: '{engine}',
      description: 'Engines lost while they served; the next on the ladder took over.',
    });
    losses.addCallback((result) => {
      for (const [kind, count] of Object.entries(gauges.engineLosses())) {
        result.observe(count, { 'salad.loss': kind });
      }
    });
    const bank = this.meter.createObservableGauge('salad.bank.prototypes', { unit: '{prototype}' });
    const drift = this.meter.createObservableGauge('salad.score.drift', {
      unit: '1',
      description:
        'Kolmogorov-Smirnov distance of the last 500 p-values to the uniform distribution; 0 before the first 100.',
    });
    bank.addCallback((result) => {
      for (const [model, count] of gauges.prototypes) result.observe(count, { 'salad.model': model });
    });
    drift.addCallback((result) => {
      for (const [model, { distance }] of this.drifts) result.observe(distance, { 'salad.model': model });
    });
  }

  private aggregated(spans: AcquisitionSpans, model: string, aggregate: AggregateFacts): void {
    const { timings, coverage, decision, overallPValue, engines } = aggregate;
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
    if (decision !== 'indeterminate') this.watchDrift(model, overallPValue);
  }

  private watchDrift(model: string, pValue: number): void {
    this.pValue.record(pValue, { 'salad.model': model });
    let drift = this.drifts.get(model);
    if (drift === undefined) {
      drift = new ScoreDrift();
      this.drifts.set(model, drift);
    }
    if (!drift.add(pValue)) return;
    const distance = Number(drift.distance.toFixed(3));
    this.logger.warn(
      { model, distance },
      'recent images score unlike those of the calibration: recalibrate?',
    );
  }

  private seconds(name: string, description: string): Histogram {
    return this.histogram(name, 's', description, SECONDS);
  }

  private histogram(
    name: string,
    unit: string,
    description: string,
    explicitBucketBoundaries: number[],
  ): Histogram {
    return this.meter.createHistogram(name, { unit, description, advice: { explicitBucketBoundaries } });
  }
}
