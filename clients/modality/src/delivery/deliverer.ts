/** Delivers results to the destinations: each at its own pace, so that one that is away delays no other. */

import { SaladError } from '../../../../src/errors/index.js';
import type { Inbox } from '../inbox/inbox.js';
import { pathOf } from '../inbox/inbox.js';
import type { Instance } from '../inbox/instance.js';
import { buildReport, type Report } from '../results/report.js';
import { readSourceHeader } from '../results/source-header.js';
import { type BackoffOptions, waitMs } from '../scoring/backoff.js';
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
  /** Runs `work`, which delivers a result, within a span. @default runs it */
  readonly traced?: (
    instance: Instance,
    destination: string,
    work: () => Promise<DeliveryOutcome>,
  ) => Promise<DeliveryOutcome>;
  /** Calls back after so many ms; replaceable, for tests. @returns what prevents it @default the timers of Node */
  readonly setTimer?: (callback: () => void, ms: number) => () => void;
}

export interface DelivererEvents {
  delivered(instance: number, destination: string): void;
  deliveryFailed(instance: number, destination: string, outcome: DeliveryOutcome): void;
  indexFailed(error: SaladError): void;
}

const BACKOFF: BackoffOptions = { initialMs: 1000, maxMs: 300_000 };
/** How often the inbox is asked, also for what a command retried. */
const POLL_MS = 500;

const setNodeTimer: NonNullable<DelivererOptions['setTimer']> = (callback, ms) => {
  const timer = setTimeout(callback, ms);
  return () => clearTimeout(timer);
};

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
    const { inbox, backoff = BACKOFF, events, traced = (_instance, _name, work) => work() } = this.options;
    let failures = 0;
    while (!this.abort.signal.aborted) {
      try {
        const instance = inbox.index.nextDelivery(destination.name);
        if (instance === undefined) {
          await this.pause(POLL_MS);
          continue;
        }
        const outcome = await traced(instance, destination.name, () => this.deliver(destination, instance));
        if (this.abort.signal.aborted && outcome.result !== 'delivered') return;
        failures = outcome.result === 'unavailable' ? failures + 1 : 0;
        this.record(destination.name, instance.id, outcome);
        // Nothing else would get through now.
        if (failures > 0) await this.pause(waitMs(failures, backoff));
      } catch (error) {
        events.indexFailed(SaladError.from(error));
        await this.pause(POLL_MS);
      }
    }
  }

  private async deliver(destination: Destination, instance: Instance): Promise<DeliveryOutcome> {
    let report: Report;
    try {
      const source = await readSourceHeader(pathOf(this.options.inbox.folders, instance));
      report = buildReport(source, JSON.parse(instance.result!) as InstanceResult);
    } catch (error) {
      const { reason, message } = SaladError.from(error);
      return { result: 'rejected', reason: reason === 'INTERNAL' ? 'the report cannot be written' : message };
    }
    const { signal } = this.abort;
    return 'url' in destination
      ? storeByStow(destination, report.bytes, signal)
      : storeByCStore(destination, report.dataSet, signal);
  }

  private record(destination: string, id: number, outcome: DeliveryOutcome): void {
    const { inbox, events } = this.options;
    if (outcome.result === 'delivered') {
      inbox.index.endDelivery(id, destination);
      events.delivered(id, destination);
      return;
    }
    events.deliveryFailed(id, destination, outcome);
    if (outcome.result === 'rejected') inbox.index.endDelivery(id, destination, outcome.reason);
    else inbox.index.postponeDelivery(id, destination, outcome.reason, 0);
  }

  private pause(ms: number): Promise<void> {
    if (this.abort.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const { wakers, abort } = this;
      const cancel = (this.options.setTimer ?? setNodeTimer)(end, ms);
      // Only a pause for want of work ends early: a destination that is away is left alone.
      const waker = ms === POLL_MS ? end : () => abort.signal.aborted && end();
      function end() {
        cancel();
        wakers.delete(waker);
        resolve();
      }
      wakers.add(waker);
    });
  }
}
