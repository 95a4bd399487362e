/**
 * The spans of acquisitions and batches. An acquisition has one server span, which continues the client's trace, with
 * three child spans: its tiles waited, ran in engines, were aggregated. A batch has one span in a separate trace with
 * a link to every acquisition that had a tile in it, because a span can only have one parent.
 *
 * Callers give times of performance.now(); the SDK gets times since 1970, converted here with one offset per
 * acquisition. The SDK would convert them with a new offset for each span, rounded to a millisecond, so that a child
 * span could end after its parent.
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
  private firstQueuedAt = Number.POSITIVE_INFINITY;
  private firstDispatchedAt = Number.POSITIVE_INFINITY;
  private lastDispatchedAt = 0;
  private lastFinishedAt = 0;
  private batches = 0;
  private readonly span: Span;
  private readonly epochOffsetMs = epochOffsetMs();

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

  /** False if the span will not be exported: work for it can be skipped. */
  get isRecording(): boolean {
    return this.span.isRecording();
  }

  /** @param queuedSince time at which the first tile of the acquisition in the batch was queued */
  batchRan({ dispatchedAt, finishedAt }: BatchReport, queuedSince: number): void {
    this.batches += 1;
    this.firstQueuedAt = Math.min(this.firstQueuedAt, queuedSince);
    this.firstDispatchedAt = Math.min(this.firstDispatchedAt, dispatchedAt);
    this.lastDispatchedAt = Math.max(this.lastDispatchedAt, dispatchedAt);
    this.lastFinishedAt = Math.max(this.lastFinishedAt, finishedAt);
  }

  event(name: string): void {
    this.span.addEvent(name, this.now());
  }

  /** Call it after the aggregate was sent. Ends the child spans. @param now time of performance.now() */
  aggregated(attributes: Attributes, now: number): void {
    this.span.setAttributes({ ...attributes, 'salad.batches': this.batches });
    if (this.batches === 0 || !this.isRecording) return;
    this.child('queue', this.firstQueuedAt, this.lastDispatchedAt);
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
    return this.epochOffsetMs + performance.now();
  }

  private child(name: string, from: number, to: number): void {
    const options = { startTime: this.epochOffsetMs + from };
    this.tracer.startSpan(name, options, trace.setSpan(this.parent, this.span)).end(this.epochOffsetMs + to);
  }
}

/** @param carrier metadata of the call: the trace continues the client's W3C trace context */
export function startAcquisition(
  tracer: Tracer,
  carrier: Record<string, unknown>,
  method: string,
  attributes: Attributes,
): AcquisitionSpans {
  const parent = propagation.extract(context.active(), carrier);
  return new AcquisitionSpans(tracer, method, parent, attributes);
}

/** Records the span of a batch, unless none of its acquisitions is recorded. */
export function recordBatch(tracer: Tracer, batch: BatchReport, attributes: Attributes): void {
  const links = [];
  for (const [spans, queuedSince] of batch.queuedSinceByTag) {
    if (!(spans instanceof AcquisitionSpans)) continue;
    spans.batchRan(batch, queuedSince);
    links.push({ context: spans.context });
  }
  if (links.length === 0) return;
  const offsetMs = epochOffsetMs();
  const span = tracer.startSpan('batch', {
    root: true,
    links,
    startTime: offsetMs + batch.dispatchedAt,
    attributes: {
      ...attributes,
      'salad.batch.size': batch.tiles,
      'salad.release': batch.releaseReason,
      'salad.compute_ms': batch.computeMs,
    },
  });
  span.end(offsetMs + batch.finishedAt);
}

/** Add it to performance.now() for ms since 1970. It changes when the system clock is set. */
const epochOffsetMs = () => Date.now() - performance.now();
