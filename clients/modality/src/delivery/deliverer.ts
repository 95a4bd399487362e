/** Delivers results to the destinations, independently: one that is unreachable delays no other. */
import { DicomDecoder } from '../../../../src/dicom/decoder/dicom-decoder.js';
import { SaladError } from '../../../../src/errors/index.js';
import type { Inbox } from '../inbox/inbox.js';
import { pathOf } from '../inbox/inbox.js';
import type { Instance, ObjectKind } from '../inbox/instance.js';
import { buildObject } from '../results/objects.js';
import type { ResultObject } from '../results/result-object.js';
import { type BackoffOptions, waitMs } from '../scoring/backoff.js';
import { frameMapOf } from '../scoring/frame-map.js';
import { Pauses, type SetTimer } from '../scoring/pauses.js';
import type { InstanceResult } from '../scoring/score-instance.js';
import { type CStoreTarget, storeByCStore } from './c-store-client.js';
import { Commitments, type CommitmentTarget } from './commitments.js';
import type { DeliveryFailure, DeliveryOutcome } from './outcome.js';
import { type StowTarget, storeByStow } from './stow-client.js';

export type Destination = { readonly name: string } & (StowTarget | (CStoreTarget & CommitmentTarget));

export interface DelivererOptions {
  readonly inbox: Inbox;
  readonly destinations: readonly Destination[];
  readonly events: DelivererEvents;
  /** While a destination is unreachable. @default 1 s to 5 min */
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
  readonly setTimer?: SetTimer;
}

export interface DelivererEvents {
  /** All objects that the destination gets of it. */
  delivered(instance: number, destination: string): void;
  deliveryFailed(instance: number, destination: string, failure: DeliveryFailure): void;
  indexFailed(error: SaladError): void;
}

/** How the delivery of one object ended; `none`: the result has no such object. */
type ObjectOutcome = DeliveryOutcome | { readonly result: 'none'; readonly reason: string };

const BACKOFF: BackoffOptions = { initialMs: 1000, maxMs: 300_000 };
/** How often the index is queried, also for what a command retried. */
const POLL_MS = 500;

export class Deliverer {
  private readonly abort = new AbortController();
  private readonly pauses: Pauses;
  private readonly decoder = new DicomDecoder({ processes: 1 });
  private running: readonly Promise<void>[] = [];

  /** Takes what archives report. */
  readonly commitments: Commitments;

  constructor(private readonly options: DelivererOptions) {
    this.pauses = new Pauses(options.setTimer);
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
    const { inbox, backoff = BACKOFF, events } = this.options;
    let failures = 0;
    while (!this.abort.signal.aborted) {
      try {
        const instance = inbox.index.nextDelivery(destination.name);
        if (instance === undefined) {
          await this.pauses.untilWork(POLL_MS);
          continue;
        }
        const isUnreachable = !(await this.deliver(destination, instance));
        if (this.abort.signal.aborted) return;
        failures = isUnreachable ? failures + 1 : 0;
        // Nothing else would get through now.
        if (failures > 0) await this.pauses.untilTime(waitMs(failures, backoff));
      } catch (error) {
        events.indexFailed(SaladError.from(error));
        await this.pauses.untilTime(POLL_MS);
      }
    }
  }

  /** Sends the objects that the destination does not have yet. @returns whether it took or refused them: it is there */
  private async deliver(destination: Destination, instance: Instance): Promise<boolean> {
    const { inbox, traced = (_instance, _name, work) => work() } = this.options;
    const { index } = inbox;
    if (this.commitments.isOverdue(instance.id, destination.name)) return true;
    const waiting = index
      .objects(instance.id)
      .filter((object) => object.destination === destination.name && object.state === 'waiting');
    for (const { kind } of waiting) {
      const object = await this.build(kind, instance);
      const outcome =
        'result' in object
          ? object
          : await traced(instance, destination.name, () => this.send(destination, object));
      if (this.abort.signal.aborted && outcome.result !== 'delivered') return true;
      const needsCommitment = outcome.result === 'delivered' && this.commitments.isWanted(destination.name);
      if (needsCommitment && !('result' in object)) {
        const sent = { sopClassUid: object.sopClassUid, sopInstanceUid: object.sopInstanceUid };
        index.objectSent(instance.id, { destination: destination.name, kind }, sent);
      } else this.record(destination.name, instance.id, kind, outcome);
      if (outcome.result === 'unavailable') return false;
    }
    return this.commitments.request(instance.id, destination.name, this.abort.signal);
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
      // It says nothing about the instance, which was decoded when it was scored.
      if (reason === 'DECODER_UNAVAILABLE') return { result: 'unavailable', reason: message };
      return {
        result: 'rejected',
        reason: reason === 'INTERNAL' ? `the ${kind} cannot be written` : message,
      };
    }
  }

  private send(destination: Destination, object: ResultObject): Promise<DeliveryOutcome> {
    const { signal } = this.abort;
    return 'url' in destination
      ? storeByStow(destination, object.bytes, signal)
      : storeByCStore(destination, object.dataSet, signal);
  }

  private record(destination: string, id: number, kind: ObjectKind, outcome: ObjectOutcome): void {
    const { inbox, events } = this.options;
    const { result, reason } = outcome;
    if (result === 'rejected' || result === 'unavailable') {
      events.deliveryFailed(id, destination, { result, reason });
    }
    if (result === 'unavailable') {
      inbox.index.postponeDelivery(id, destination, reason, 0);
      return;
    }
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
