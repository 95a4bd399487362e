/** Delivers results to the destinations: each at its own pace, so that one that is away delays no other. */

import { SaladError } from '../../../../src/errors/index.js';
import type { Inbox } from '../inbox/inbox.js';
import { pathOf } from '../inbox/inbox.js';
import type { Instance, ObjectKind } from '../inbox/instance.js';
import { buildObject } from '../results/objects.js';
import type { ResultObject } from '../results/result-object.js';
import { type BackoffOptions, waitMs } from '../scoring/backoff.js';
import { frameMapOf } from '../scoring/frame-map.js';
import type { InstanceResult } from '../scoring/score-instance.js';
import { type CStoreTarget, storeByCStore } from './c-store-client.js';
import type { DeliveryOutcome } from './outcome.js';
import { type StowTarget, storeByStow } from './stow-client.js';

export type Destination = { readonly name: string } & (StowTarget | CStoreTarget);

export interface DelivererOptions {
  readonly inbox: Inbox;
  readonly destinations: readonly Destination[];
  readonly events: DelivererEvents;
  /** While a destination is away. @default 1 s to 5 min */
  readonly backoff?: BackoffOptions;
}

export interface DelivererEvents {
  /** All objects that the destination gets of it. */
  delivered(instance: number, destination: string): void;
  deliveryFailed(instance: number, destination: string, outcome: DeliveryOutcome): void;
  indexFailed(error: SaladError): void;
}

/** How the delivery of one object ended; `none`: the result has no such object. */
type ObjectOutcome = DeliveryOutcome | { readonly result: 'none'; readonly reason: string };

const BACKOFF: BackoffOptions = { initialMs: 1000, maxMs: 300_000 };
/** How often the inbox is asked, also for what a command retried. */
const POLL_MS = 500;

export class Deliverer {
  private readonly abort = new AbortController();
  private readonly wakers = new Set<() => void>();
  private running: readonly Promise<void>[] = [];

  constructor(private readonly options: DelivererOptions) {}

  start(): void {
    this.running = this.options.destinations.map((destination) => this.work(destination));
  }

  /** Call when an instance was scored. */
  wake(): void {
    for (const waker of this.wakers) waker();
  }

  /** Breaks off what is being sent; it is sent again at the next start, as the same object. */
  async stop(): Promise<void> {
    this.abort.abort();
    this.wake();
    await Promise.all(this.running);
  }

  private async work(destination: Destination): Promise<void> {
    const { inbox, backoff = BACKOFF, events } = this.options;
    let failures = 0;
    while (!this.abort.signal.aborted) {
      try {
        const instance = inbox.index.nextDelivery(destination.name);
        if (instance === undefined) {
          await this.pause(POLL_MS);
          continue;
        }
        const isAway = !(await this.deliver(destination, instance));
        if (this.abort.signal.aborted) return;
        failures = isAway ? failures + 1 : 0;
        // Nothing else would get through now.
        if (failures > 0) await this.pause(waitMs(failures, backoff));
      } catch (error) {
        events.indexFailed(SaladError.from(error));
        await this.pause(POLL_MS);
      }
    }
  }

  /** Sends the objects that the destination does not have yet. @returns whether it took or refused them: it is there */
  private async deliver(destination: Destination, instance: Instance): Promise<boolean> {
    const { index } = this.options.inbox;
    const waiting = index
      .objects(instance.id)
      .filter((object) => object.destination === destination.name && object.state === 'waiting');
    for (const { kind } of waiting) {
      const object = await this.build(kind, instance);
      const outcome = 'result' in object ? object : await this.send(destination, object);
      if (this.abort.signal.aborted && outcome.result !== 'delivered') return true;
      this.record(destination.name, instance.id, kind, outcome);
      if (outcome.result === 'unavailable') return false;
    }
    return true;
  }

  /** @returns the object, or how its delivery ends without one */
  private async build(kind: ObjectKind, instance: Instance): Promise<ResultObject | ObjectOutcome> {
    const { folders, index } = this.options.inbox;
    try {
      const object = await buildObject(kind, {
        path: pathOf(folders, instance),
        result: JSON.parse(instance.result!) as InstanceResult,
        maps: kind === 'report' ? [] : index.maps(instance.id).map(frameMapOf),
      });
      return typeof object === 'string' ? { result: 'none', reason: object } : object;
    } catch (error) {
      const { reason, message } = SaladError.from(error);
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

  private pause(ms: number): Promise<void> {
    if (this.abort.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const { wakers, abort } = this;
      const timer = setTimeout(end, ms);
      // Only a pause for want of work ends early: a destination that is away is left alone.
      const waker = ms === POLL_MS ? end : () => abort.signal.aborted && end();
      function end() {
        clearTimeout(timer);
        wakers.delete(waker);
        resolve();
      }
      wakers.add(waker);
    });
  }
}
