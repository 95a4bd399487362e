/** Delivers results to the destinations, independently: one that is unreachable delays no other. */
import { DicomDecoder } from '../../../../src/dicom/decoder/dicom-decoder.js';
import { SaladError } from '../../../../src/errors/index.js';
import type { StartTimer } from '../../../../src/util/timer.js';
import type { Inbox } from '../inbox/inbox.js';
import { pathOf } from '../inbox/inbox.js';
import { ATTEMPTS_MAX, type Instance, type ObjectKind } from '../inbox/instance.js';
import { checkBuffers } from '../memory/collector.js';
import { buildObject } from '../results/objects.js';
import type { ResultObject } from '../results/result-object.js';
import type { BackoffOptions } from '../scoring/backoff.js';
import { frameMapOf } from '../scoring/frame-map.js';
import { Pauses } from '../scoring/pauses.js';
import type { InstanceResult } from '../scoring/score-instance.js';
import { type CStoreTarget, storeByCStore } from './c-store-client.js';
import { Commitments, type CommitmentTarget } from './commitments.js';
import { FailedDeliveries } from './failed-deliveries.js';
import type { DeliveryFailure, DeliveryOutcome, FailureCause } from './outcome.js';
import { type StowTarget, storeByStow } from './stow-client.js';

export type Destination = { readonly name: string } & (StowTarget | (CStoreTarget & CommitmentTarget));

export interface DelivererOptions {
  readonly inbox: Inbox;
  readonly destinations: readonly Destination[];
  readonly events: DelivererEvents;
  /** While a destination is away. @default 1 s to 5 min; before an object is sent again 10 s to 30 min */
  readonly backoff?: BackoffOptions;
  /** Runs `work`, which sends one object, within a span. @default runs it */
  readonly traced?: (
    instance: Instance,
    destination: string,
    work: () => Promise<DeliveryOutcome>,
  ) => Promise<DeliveryOutcome>;
  /** Requests for the storage commitment of one object that the archive may leave without it. @default 20 */
  readonly commitmentRequestsMax?: number;
  /** Replaceable, for tests. @default the timers of Node */
  readonly startTimer?: StartTimer;
  /** Replaceable, for tests. @default the deadline that depends on the size of the image */
  readonly decodingDeadlineMs?: number;
}

export interface DelivererEvents {
  /** All objects that the destination gets of it. */
  delivered(instance: number, destination: string): void;
  deliveryFailed(instance: number, destination: string, failure: DeliveryFailure): void;
  indexFailed(error: SaladError): void;
}

/** How the delivery of one object ended; `none`: the result has no such object. */
type ObjectOutcome = DeliveryOutcome | { readonly result: 'none'; readonly reason: string };

/** Why a delivery is tried again. */
interface Failure {
  /** What was to be sent; undefined for a request for storage commitment. */
  readonly kind: ObjectKind | undefined;
  readonly reason: string;
  readonly cause?: FailureCause;
}

/** How often the index is queried, also for what a command retried. */
const POLL_MS = 500;

export class Deliverer {
  private readonly abort = new AbortController();
  private readonly pauses: Pauses;
  private readonly decoder: DicomDecoder;
  private running: readonly Promise<void>[] = [];

  /** Takes what archives report. */
  readonly commitments: Commitments;

  constructor(private readonly options: DelivererOptions) {
    const { startTimer, decodingDeadlineMs } = options;
    this.pauses = new Pauses(startTimer);
    this.decoder = new DicomDecoder({
      processes: 1,
      ...(decodingDeadlineMs === undefined ? {} : { deadlineMs: decodingDeadlineMs }),
    });
    this.commitments = new Commitments({ ...options, index: options.inbox.index });
  }

  start(): void {
    this.commitments.start();
    this.running = this.options.destinations.map((destination) => this.work(destination));
  }

  /** Call when an instance was scored. */
  wake(): void {
    this.pauses.wake();
  }

  /** Aborts what is being sent; it is sent again at the next start, as the same object. */
  async stop(): Promise<void> {
    this.abort.abort();
    this.pauses.close();
    await Promise.all(this.running);
    await this.decoder.close();
  }

  private async work(destination: Destination): Promise<void> {
    const { backoff, events } = this.options;
    const failed = new FailedDeliveries(backoff);
    while (!this.abort.signal.aborted) {
      try {
        const instance = this.next(destination.name, failed);
        if (instance === undefined) {
          await this.pauses.untilWork(POLL_MS);
          continue;
        }
        const failure = await this.deliver(destination, instance, failed);
        if (this.abort.signal.aborted) return;
        if (failure === undefined) failed.passed(instance.id);
        else {
          const pauseMs = this.tryAgain(destination.name, instance.id, failure, failed);
          if (pauseMs > 0) await this.pauses.untilTime(pauseMs);
        }
      } catch (error) {
        events.indexFailed(SaladError.from(error));
        await this.pauses.untilTime(POLL_MS);
      }
    }
  }

  private next(destination: string, { heldBack }: FailedDeliveries): Instance | undefined {
    const { index } = this.options.inbox;
    const next = index.nextDelivery(destination, heldBack);
    if (next !== undefined || heldBack.size === 0) return next;
    heldBack.clear();
    return index.nextDelivery(destination);
  }

  /** Sends the objects that the destination does not have yet. @returns the first failure that it is tried again for */
  private async deliver(
    destination: Destination,
    instance: Instance,
    failed: FailedDeliveries,
  ): Promise<Failure | undefined> {
    const { inbox, traced = (_instance, _name, work) => work() } = this.options;
    const { index } = inbox;
    const { name } = destination;
    if (this.commitments.isOverdue(instance.id, name)) return undefined;
    const waiting = index
      .objects(instance.id)
      .filter((object) => object.destination === name && object.state === 'waiting');
    for (const { kind } of waiting) {
      // What the object before it took is garbage by now: megabytes of maps and pixels.
      checkBuffers();
      const object = await this.build(kind, instance);
      const outcome =
        'result' in object ? object : await traced(instance, name, () => this.send(destination, object));
      const { result } = outcome;
      if (this.abort.signal.aborted && result !== 'delivered') return undefined;
      if (result === 'unavailable') return { ...outcome, kind };
      if (result === 'delivered') failed.took();
      if (result === 'delivered' && this.commitments.isWanted(name) && !('result' in object)) {
        const { sopClassUid, sopInstanceUid } = object;
        index.objectSent(instance.id, { destination: name, kind }, { sopClassUid, sopInstanceUid });
      } else this.end(name, instance.id, kind, { ...outcome, result });
    }
    const reason = await this.commitments.request(instance.id, name, this.abort.signal);
    return reason === undefined ? undefined : { kind: undefined, reason };
  }

  /** @returns for how long nothing is sent to the destination */
  private tryAgain(
    destination: string,
    id: number,
    { kind, reason, cause }: Failure,
    failed: FailedDeliveries,
  ): number {
    const { inbox, events } = this.options;
    const { isGivenUp, delayMs, pauseMs } = failed.failed(id, cause);
    if (isGivenUp && kind !== undefined) {
      const tries = cause === 'object' ? 'times' : 'times while the archive took other objects';
      const last = `${reason}, ${ATTEMPTS_MAX} ${tries}`;
      this.end(destination, id, kind, { result: 'rejected', reason: last });
    } else {
      events.deliveryFailed(id, destination, { result: 'unavailable', reason });
      inbox.index.postponeDelivery(id, destination, reason, delayMs);
    }
    return pauseMs;
  }

  /** @returns the object, or how its delivery ends without one */
  private async build(kind: ObjectKind, instance: Instance): Promise<ResultObject | ObjectOutcome> {
    const { folders, index } = this.options.inbox;
    try {
      const object = await buildObject(kind, {
        path: pathOf(folders, instance),
        result: JSON.parse(instance.result!) as InstanceResult,
        decoder: this.decoder,
        signal: this.abort.signal,
        maps: kind === 'report' ? [] : index.maps(instance.id).map(frameMapOf),
      });
      return typeof object === 'string' ? { result: 'none', reason: object } : object;
    } catch (error) {
      const { reason, message } = SaladError.from(error);
      // These say nothing about the instance, which was decoded when it was scored.
      if (reason === 'DECODER_UNAVAILABLE') return { result: 'unavailable', reason: message };
      if (reason === 'DECODING_LIMIT_EXCEEDED') {
        return { result: 'unavailable', reason: message, cause: 'object' };
      }
      return {
        result: 'rejected',
        reason: reason === 'INTERNAL' ? `the ${kind} cannot be written` : message,
      };
    }
  }

  private send(destination: Destination, object: ResultObject): Promise<DeliveryOutcome> {
    const { signal } = this.abort;
    return 'url' in destination
      ? storeByStow(destination, object, signal)
      : storeByCStore(destination, object.dataSet, signal);
  }

  private end(
    destination: string,
    id: number,
    kind: ObjectKind,
    { result, reason }: { readonly result: 'delivered' | 'rejected' | 'none'; readonly reason: string },
  ): void {
    const { inbox, events } = this.options;
    if (result === 'rejected') events.deliveryFailed(id, destination, { result, reason });
    const state = result === 'rejected' ? 'dead-letter' : result;
    const ended = inbox.index.endObject(
      id,
      { destination, kind },
      state,
      state === 'delivered' ? null : reason,
    );
    if (ended === 'delivered') events.delivered(id, destination);
  }
}
