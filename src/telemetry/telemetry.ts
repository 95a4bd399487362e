/**
 * Records the metrics and traces of the server through the OpenTelemetry API. Without an SDK (see sdk.ts) every
 * instrument does nothing. Telemetry never contains pixels or identifiers of an acquisition.
 */
import { type Attributes, type Histogram, metrics, type SpanContext, trace } from '@opentelemetry/api';
import type { BatchReport } from '../batching/index.js';
import type { Logger } from './logger.js';
import { METRICS, type MetricName } from './metrics.js';
import { ScoreDrift } from './score-drift.js';
import { type AcquisitionSpans, recordBatch, startAcquisition } from './traces.js';

const INSTRUMENTATION_NAME = 'salad-serve';

type HistogramName = {
  [Name in MetricName]: (typeof METRICS)[Name] extends { readonly kind: 'histogram' } ? Name : never;
}[MetricName];

/** The sources of observed metrics, read at every export. */
export interface GaugeSources {
  readonly activeCalls: () => number;
  readonly queuedTiles: () => number;
  readonly freeSlots: () => number;
  /** Number of engines lost while they scored, by kind of loss. */
  readonly engineLosses: () => Readonly<Record<string, number>>;
  /** Rows of the memory bank, by model key. */
  readonly prototypes: () => ReadonlyMap<string, number>;
  /** Number of versions by their state. */
  readonly models: () => Readonly<Record<string, number>>;
}

/** The values of scored patches that are recorded: counts of patches, times in ms. */
export interface RecordedScores {
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
    /** Absent where all scores come at once. */
    readonly firstScoreMs?: number | undefined;
  };
}

/** The values of an aggregate that are recorded. */
export interface RecordedAggregate extends RecordedScores {
  readonly decision: string;
  readonly overallPValue: number;
  /** Normals that p-value is among. */
  readonly calibrationImages: number;
}

/** `salad.decision` of tiles: only images are decided. */
const NO_DECISION = 'none';

/** The trace of one acquisition while it runs. */
export interface AcquisitionTrace {
  /** Identifies the acquisition in batch reports; undefined if the acquisition is not traced. */
  readonly tag: object | undefined;
  /** Call it after every answer. @param aggregate of the last answer */
  messageSent(kind: string, aggregate?: RecordedAggregate): void;
  /** Call it in the place of `messageSent` where tiles were scored without their image. */
  tilesScored(scores: RecordedScores): void;
  /** @param error the reason, if the acquisition failed */
  ended(error?: unknown): void;
}

export class Telemetry {
  private readonly meter = metrics.getMeter(INSTRUMENTATION_NAME);
  private readonly tracer = trace.getTracer(INSTRUMENTATION_NAME);
  private readonly callDuration = this.histogram('rpc.server.call.duration');
  private readonly acquisitionDuration = this.histogram('salad.acquisition.duration');
  private readonly firstScore = this.histogram('salad.acquisition.first_score.duration');
  private readonly queueDuration = this.histogram('salad.tile.queue.duration');
  private readonly batchDuration = this.histogram('salad.batch.duration');
  private readonly batchSize = this.histogram('salad.batch.size');
  private readonly loadDuration = this.histogram('salad.model.load.duration');
  private readonly pValue = this.histogram('salad.acquisition.p_value');
  private readonly patches = this.meter.createCounter('salad.patches', METRICS['salad.patches']);
  private readonly contextOfError = new WeakMap<Error, SpanContext>();
  private readonly driftByModel = new Map<string, ScoreDrift>();

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

  /** @param carrier metadata of the call: the trace continues the client's W3C trace context */
  startAcquisition(carrier: Record<string, unknown>, method: string, model: string): AcquisitionTrace {
    const spans = startAcquisition(this.tracer, carrier, method, { 'salad.model': model });
    const { isRecording, context } = spans;
    return {
      tag: isRecording ? spans : undefined,
      messageSent: (kind, aggregate) => {
        spans.event(kind);
        if (aggregate !== undefined) this.recordAggregate(spans, model, aggregate);
      },
      tilesScored: (scores) => {
        spans.event('patches');
        this.recordScores(spans, model, NO_DECISION, scores);
      },
      ended: (error) => {
        spans.ended(error);
        if (isRecording && error instanceof Error) this.contextOfError.set(error, context);
      },
    };
  }

  /** Fields for the log line of an error that ended a traced acquisition, or that it caused; empty for other errors. */
  traceIdsOf(error: unknown): Readonly<Record<string, string>> {
    for (let each = error; each instanceof Error; each = each.cause) {
      const context = this.contextOfError.get(each);
      if (context !== undefined) return { trace_id: context.traceId, span_id: context.spanId };
    }
    return {};
  }

  /** A version was loaded while others served, or refused. */
  modelLoaded(model: string, outcome: 'loaded' | 'refused', ms: number): void {
    this.loadDuration.record(ms / 1000, { 'salad.model': model, 'salad.outcome': outcome });
  }

  /** The model was unloaded: its drift is no longer observed. */
  forgetModel(model: string): void {
    this.driftByModel.delete(model);
  }

  /** Call it once, when all sources can be read. */
  observe(sources: GaugeSources): void {
    const gauge = (name: MetricName) => this.meter.createObservableGauge(name, METRICS[name]);
    const observeGauge = (name: MetricName, read: () => number) => {
      gauge(name).addCallback((result) => result.observe(read()));
    };
    observeGauge('salad.calls.active', sources.activeCalls);
    observeGauge('salad.tiles.queued', sources.queuedTiles);
    observeGauge('salad.slots.free', sources.freeSlots);
    const losses = this.meter.createObservableCounter('salad.engine.losses', METRICS['salad.engine.losses']);
    losses.addCallback((result) => {
      for (const [kind, count] of Object.entries(sources.engineLosses())) {
        result.observe(count, { 'salad.loss': kind });
      }
    });
    const bank = gauge('salad.bank.prototypes');
    const drift = gauge('salad.score.drift');
    gauge('salad.models').addCallback((result) => {
      for (const [state, count] of Object.entries(sources.models())) {
        result.observe(count, { 'salad.state': state });
      }
    });
    bank.addCallback((result) => {
      for (const [model, count] of sources.prototypes()) result.observe(count, { 'salad.model': model });
    });
    drift.addCallback((result) => {
      for (const [model, { evidence }] of this.driftByModel)
        result.observe(evidence, { 'salad.model': model });
    });
  }

  private recordAggregate(spans: AcquisitionSpans, model: string, aggregate: RecordedAggregate): void {
    const { decision } = aggregate;
    this.recordScores(spans, model, decision, aggregate);
    if (decision !== 'indeterminate') this.recordPValue(model, aggregate);
  }

  private recordScores(
    spans: AcquisitionSpans,
    model: string,
    decision: string,
    { timings, coverage, engines }: RecordedScores,
  ): void {
    const modelAttributes: Attributes = { 'salad.model': model };
    this.acquisitionDuration.record(timings.totalMs / 1000, {
      ...modelAttributes,
      'salad.decision': decision,
    });
    if (timings.firstScoreMs !== undefined)
      this.firstScore.record(timings.firstScoreMs / 1000, modelAttributes);
    this.queueDuration.record(timings.queueMs / 1000, modelAttributes);
    for (const outcome of ['scored', 'skipped', 'failed', 'missing'] as const) {
      if (coverage[outcome] > 0)
        this.patches.add(coverage[outcome], { ...modelAttributes, 'salad.outcome': outcome });
    }
    const spanAttributes = {
      'salad.engines': [...engines],
      'salad.decision': decision,
      'salad.queue_ms': timings.queueMs,
      'salad.compute_ms': timings.computeMs,
      'salad.patches.scored': coverage.scored,
    };
    spans.aggregated(spanAttributes, performance.now());
  }

  private recordPValue(
    model: string,
    {
      overallPValue: pValue,
      calibrationImages,
    }: Pick<RecordedAggregate, 'overallPValue' | 'calibrationImages'>,
  ): void {
    this.pValue.record(pValue, { 'salad.model': model });
    let drift = this.driftByModel.get(model);
    if (drift === undefined) {
      drift = new ScoreDrift(calibrationImages);
      this.driftByModel.set(model, drift);
    }
    if (!drift.add(pValue)) return;
    const evidence = Number(drift.evidence.toFixed(2));
    this.logger.warn(
      { model, evidence },
      'recent images score unlike the calibration images; check the site and calibrate again (salad calibrate)',
    );
  }

  private histogram(name: HistogramName): Histogram {
    const { unit, description, buckets } = METRICS[name];
    const advice = { explicitBucketBoundaries: [...buckets] };
    return this.meter.createHistogram(name, { unit, description, advice });
  }
}
