/**
 * Records the metrics of the gateway through the OpenTelemetry API. Without an SDK (see start-operations.ts) every
 * instrument does nothing.
 */
import {
  type BatchObservableResult,
  type Counter,
  type Histogram,
  metrics,
  type Observable,
} from '@opentelemetry/api';
import type { SaladError } from '../../../../src/errors/index.js';
import type { Kept } from '../inbox/incoming.js';
import type { IndexReader } from '../inbox/index-reader.js';
import type { GatewayEvents } from './events.js';
import type { InboxFigures } from './figures.js';
import { GATEWAY_METRICS, type GatewayMetricName, INSTRUMENTATION_NAME, type InputKind } from './metrics.js';
import { GatewayTraces } from './traces.js';

export interface TelemetrySources {
  readonly index: Pick<IndexReader, 'byId'>;
  /** Read at every export. */
  readonly figures: () => Promise<InboxFigures>;
  readonly openAssociations: () => number;
  readonly unreadableFolders: () => number;
}

export class GatewayTelemetry {
  readonly traces = new GatewayTraces();
  private readonly meter = metrics.getMeter(INSTRUMENTATION_NAME);
  private readonly associationsFailed = this.counter('salad.modality.associations.failed');
  private readonly received = this.counter('salad.modality.received');
  private readonly refused = this.counter('salad.modality.refused');
  private readonly scoringAttempts = this.counter('salad.modality.scoring.attempts');
  private readonly deliveryAttempts = this.counter('salad.modality.delivery.attempts');
  private readonly receiveDuration = this.histogram('salad.modality.receive.duration');
  private readonly scoreDuration = this.histogram('salad.modality.score.duration');
  private readonly deliveryDuration = this.histogram('salad.modality.delivery.duration');

  constructor(private readonly sources: TelemetrySources) {
    this.observe();
  }

  readonly events: Partial<GatewayEvents> = {
    refused: (reason) => this.associationsFailed.add(1, { 'salad.reason': reason }),
    aborted: () => this.associationsFailed.add(1, { 'salad.reason': 'aborted' }),
    stored: ({ id, outcome, durationMs, error, status }) =>
      id === undefined || durationMs === undefined
        ? this.countRefused('dicom', error?.reason ?? `0x${status.toString(16).padStart(4, '0')}`)
        : this.countReceived('dicom', { id, outcome, durationMs }),
    stowed: ({ kept, error }) =>
      kept === undefined ? this.countRefused('stow', reasonOf(error)) : this.countReceived('stow', kept),
    requestRefused: (status) => this.countRefused('stow', `HTTP_${status}`),
    taken: (id, outcome, durationMs) => this.countReceived('watch', { id, outcome, durationMs }),
    fileRefused: (error) => this.countRefused('watch', reasonOf(error)),
    attemptFailed: (_id, { scope }) => this.scoringAttempts.add(1, { 'salad.outcome': scope }),
    scored: (id) => this.countScored(id),
    delivered: (id, destination) => this.countDelivered(id, destination),
    deliveryFailed: (_id, destination, { result }) =>
      this.deliveryAttempts.add(1, { 'salad.destination': destination, 'salad.outcome': result }),
  };

  private countReceived(
    input: InputKind,
    { id, outcome, durationMs }: Omit<Kept, 'outcome'> & { outcome: string },
  ): void {
    this.received.add(1, { 'salad.input': input, 'salad.outcome': outcome });
    this.receiveDuration.record(durationMs / 1000, { 'salad.input': input });
    if (outcome === 'stored') this.traces.received(id, input, durationMs);
  }

  private countRefused(input: InputKind, reason: string): void {
    this.refused.add(1, { 'salad.input': input, 'salad.reason': reason });
  }

  private countScored(id: number): void {
    this.scoringAttempts.add(1, { 'salad.outcome': 'scored' });
    const instance = this.sources.index.byId(id);
    if (instance === undefined) return;
    const seconds = Math.max(0, instance.changedMs - instance.receivedMs) / 1000;
    this.scoreDuration.record(seconds, { 'salad.priority': instance.priority });
  }

  private countDelivered(id: number, destination: string): void {
    this.deliveryAttempts.add(1, { 'salad.destination': destination, 'salad.outcome': 'delivered' });
    const { result } = this.sources.index.byId(id) ?? {};
    if (result === undefined || result === null) return;
    const { scoredMs } = JSON.parse(result) as { readonly scoredMs: number };
    const seconds = Math.max(0, Date.now() - scoredMs) / 1000;
    this.deliveryDuration.record(seconds, { 'salad.destination': destination });
  }

  /** All gauges are read at once, so that they agree. */
  private observe(): void {
    const gauges = new Map<GatewayMetricName, Observable>();
    for (const [name, { kind, unit, description }] of Object.entries(GATEWAY_METRICS)) {
      if (kind !== 'gauge') continue;
      gauges.set(name as GatewayMetricName, this.meter.createObservableGauge(name, { unit, description }));
    }
    const read = async (result: BatchObservableResult) => {
      const { figures, openAssociations, unreadableFolders } = this.sources;
      const set: ObserveGauge = (name, value, attributes) =>
        result.observe(gauges.get(name)!, value, attributes);
      set('salad.modality.associations.open', openAssociations());
      set('salad.modality.watch.unreadable', unreadableFolders());
      observeFigures(await figures(), set);
    };
    this.meter.addBatchObservableCallback(read, [...gauges.values()]);
  }

  private counter(name: GatewayMetricName): Counter {
    const { unit, description } = GATEWAY_METRICS[name];
    return this.meter.createCounter(name, { unit, description });
  }

  private histogram(name: HistogramName): Histogram {
    const { unit, description, buckets } = GATEWAY_METRICS[name];
    const advice = { explicitBucketBoundaries: [...buckets] };
    return this.meter.createHistogram(name, { unit, description, advice });
  }
}

type HistogramName = {
  [Name in GatewayMetricName]: (typeof GATEWAY_METRICS)[Name] extends { readonly kind: 'histogram' }
    ? Name
    : never;
}[GatewayMetricName];

type ObserveGauge = (
  name: GatewayMetricName,
  value: number,
  attributes?: Readonly<Record<string, string>>,
) => void;

function observeFigures(figures: InboxFigures, set: ObserveGauge): void {
  for (const [state, count] of Object.entries(figures.counts)) {
    set('salad.modality.instances', count, { 'salad.state': state });
  }
  for (const [reason, count] of figures.deadLetters) {
    set('salad.modality.dead_letters', count, { 'salad.reason': reason });
  }
  for (const { destination, state, count } of figures.deliveries) {
    set('salad.modality.deliveries', count, { 'salad.destination': destination, 'salad.state': state });
  }
  for (const [destination, seconds] of figures.oldestUndelivered) {
    set('salad.modality.oldest_undelivered.age', seconds, { 'salad.destination': destination });
  }
  set('salad.modality.deliveries.orphaned', figures.orphaned);
  set('salad.modality.conflicts', figures.conflicts);
  set('salad.modality.oldest_unscored.age', figures.oldestUnscored);
  set('salad.modality.inbox.bytes', figures.fileBytes);
  set('salad.modality.disk.free', figures.freeBytes);
  set('salad.modality.disk.kept_free', figures.keptFreeBytes);
}

function reasonOf(error: SaladError | undefined): string {
  return error?.reason ?? 'INTERNAL';
}
