/**
 * The spans of instances: `receive`, `score` and, for each object that is sent, `deliver`. Each is a trace of its own,
 * because hours of waiting may lie between them. `score` has a link to the `receive` of its instance, `deliver` to its
 * `score`; after a restart the first of them has none. The server's span of an acquisition is a child of `score`.
 * Nothing of a data set is in them.
 */
import {
  type Attributes,
  context,
  propagation,
  type Span,
  type SpanContext,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import type { DeliveryOutcome } from '../delivery/outcome.js';
import type { Instance } from '../inbox/instance.js';
import { failureOf } from '../scoring/failure.js';
import { INSTRUMENTATION_NAME, type InputKind } from './metrics.js';

/** So many instances are remembered for links. */
const LINKS_MAX = 10_000;

export class GatewayTraces {
  private readonly tracer = trace.getTracer(INSTRUMENTATION_NAME);
  /** The last span of an instance, by its number. */
  private readonly last = new Map<number, SpanContext>();

  /** @param durationMs of the transfer, which ends now */
  received(id: number, input: InputKind, durationMs: number): void {
    const attributes = { 'salad.instance': id, 'salad.input': input };
    const span = this.tracer.startSpan('receive', {
      ...{ root: true, attributes, startTime: Date.now() - durationMs },
    });
    this.remember(id, span);
    span.end();
  }

  /** Runs `work` within a span; calls to servers continue its trace (see `traceMetadata`). */
  readonly scoring = async <T>({ id, priority }: Instance, work: () => Promise<T>): Promise<T> => {
    const span = this.start('score', id, { 'salad.priority': priority });
    try {
      const result = await context.with(trace.setSpan(context.active(), span), work);
      this.remember(id, span);
      return result;
    } catch (error) {
      // Its message may repeat text of the file or of the server.
      span.setStatus({ code: SpanStatusCode.ERROR, message: failureOf(error).reason.replace(/:.*/s, '') });
      throw error;
    } finally {
      span.end();
    }
  };

  readonly delivering = async (
    { id }: Instance,
    destination: string,
    work: () => Promise<DeliveryOutcome>,
  ): Promise<DeliveryOutcome> => {
    const span = this.start('deliver', id, { 'salad.destination': destination });
    try {
      const outcome = await work();
      span.setAttribute('salad.outcome', outcome.result);
      if (outcome.result !== 'delivered') span.setStatus({ code: SpanStatusCode.ERROR });
      return outcome;
    } finally {
      span.end();
    }
  };

  private start(name: string, id: number, attributes: Attributes): Span {
    const linked = this.last.get(id);
    return this.tracer.startSpan(name, {
      ...{ root: true, attributes: { 'salad.instance': id, ...attributes } },
      links: linked === undefined ? [] : [{ context: linked }],
    });
  }

  private remember(id: number, span: Span): void {
    if (!span.isRecording()) return;
    this.last.delete(id);
    this.last.set(id, span.spanContext());
    if (this.last.size > LINKS_MAX) this.last.delete(this.last.keys().next().value!);
  }
}

/** Metadata of a call that continue the trace of the span around it (W3C trace context); empty without one. */
export function traceMetadata(): Readonly<Record<string, string>> {
  const carrier: Record<string, string> = {};
  propagation.inject(context.active(), carrier);
  return carrier;
}
