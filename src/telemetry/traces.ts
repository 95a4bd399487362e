/**
 * Spans. One server span an acquisition, continuing the client's trace, with a child each for the time its tiles
 * waited, were in engines, and were aggregated. One span a batch, a trace of its own with a link to every
 * acquisition that had a tile in it: a batch has many parents. Times come in as those of performance.now() and go
 * to the SDK as those of the day: it would move each span by what the two clocks differ when that span is made, to
 * the millisecond, and a child would end after its parent.
 */
import {
  type Attributes,
  type Context,
  context,
  propagation,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import type { BatchReport } from '../batching/index.js';
import { boundedMessage } from '../errors/index.js';

/** The spans of one acquisition while it runs. */
export class AcquisitionSpans {
  private firstReadyAt = Number.POSITIVE_INFINITY;
  private firstDispatchedAt = Number.POSITIVE_INFINITY;
  private lastDispatchedAt = 0;
  private lastFinishedAt = 0;
  private batches = 0;
  private readonly span: Span;
  private readonly dayOffset = dayOffset();

  constructor(
    private readonly tracer: Tracer,
    method: string,
    private readonly parent: Context,
    attributes: Attributes,
  ) {
    this.span = tracer.startSpan(
      method,
      { kind: SpanKind.SERVER, attributes, startTime: this.now() },
      parent,
    );
  }

  get context(): SpanContext {
    return this.span.spanContext();
  }

  /** False where nobody will ever see it: then the rest of the work can be left out. */
  get isRecording(): boolean {
    return this.span.isRecording();
  }

  /** @param queuedSince when the first of its tiles in the batch became ready */
  batchRan({ dispatchedAt, finishedAt }: BatchReport, queuedSince: number): void {
    this.batches += 1;
    this.firstReadyAt = Math.min(this.firstReadyAt, queuedSince);
    this.firstDispatchedAt = Math.min(this.firstDispatchedAt, dispatchedAt);
    this.lastDispatchedAt = Math.max(this.lastDispatchedAt, dispatchedAt);
    this.lastFinishedAt = Math.max(this.lastFinishedAt, finishedAt);
  }

  event(name: string): void {
    this.span.addEvent(name, this.now());
  }

  /** Once the aggregate is out. */
  aggregated(attributes: Attributes, now: number): void {
    this.span.setAttributes({ ...attributes, 'salad.batches': this.batches });
    if (this.batches === 0 || !this.isRecording) return;
    this.child('queue', this.firstReadyAt, this.lastDispatchedAt);
    this.child('engine', this.firstDispatchedAt, this.lastFinishedAt);
    this.child('aggregate', this.lastFinishedAt, now);
  }

  ended(error: unknown): void {
    if (error !== undefined) {
      this.span.setStatus({ code: SpanStatusCode.ERROR, message: boundedMessage(String(error)) });
    }
    this.span.end(this.now());
  }

  private now(): number {
    return this.dayOffset + performance.now();
  }

  private child(name: string, from: number, to: number): void {
    const options = { startTime: this.dayOffset + from };
    this.tracer.startSpan(name, options, trace.setSpan(this.parent, this.span)).end(this.dayOffset + to);
  }
}

/** @param carrier the call's metadata: a client's W3C trace context goes on here */
export function startAcquisition(
  tracer: Tracer,
  carrier: Record<string, unknown>,
  method: string,
  attributes: Attributes,
): AcquisitionSpans {
  const parent = propagation.extract(context.active(), carrier);
  return new AcquisitionSpans(tracer, method, parent, attributes);
}

/** Nothing where no acquisition in it is recorded. */
export function recordBatch(tracer: Tracer, batch: BatchReport, attributes: Attributes): void {
  const links = [];
  for (const [spans, queuedSince] of batch.queuedSinceByTag) {
    if (!(spans instanceof AcquisitionSpans)) continue;
    spans.batchRan(batch, queuedSince);
    links.push({ context: spans.context });
  }
  if (links.length === 0) return;
  const offset = dayOffset();
  const span = tracer.startSpan('batch', {
    root: true,
    links,
    startTime: offset + batch.dispatchedAt,
    attributes: {
      ...attributes,
      'salad.batch.size': batch.tiles,
      'salad.release': batch.releaseReason,
      'salad.compute_ms': batch.computeMs,
    },
  });
  span.end(offset + batch.finishedAt);
}

/** From performance.now() to ms since 1970. It changes as the clock of the day is set. */
const dayOffset = () => Date.now() - performance.now();
