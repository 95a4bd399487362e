/** The storage commitment of deliveries: asks archives for it, and ends deliveries by what they report. */
import { randomUUID } from 'node:crypto';
import { SaladError } from '../../../../src/errors/index.js';
import { answerReport, type CommitmentReport, type ReportReceiver } from '../dicom-port/commitment-report.js';
import type { InstanceIndex } from '../inbox/instance-index.js';
import { type BackoffOptions, waitMs } from '../scoring/backoff.js';
import type { CStoreTarget } from './c-store-client.js';
import { type CommitmentRequest, RequestAssociation } from './commitment-request.js';
import { SEND_AGAIN } from './failed-deliveries.js';
import type { DeliveryFailure } from './outcome.js';

/** Set for destinations whose deliveries end with a storage commitment. */
export interface CommitmentTarget {
  /** From the request to the report, in ms: 100 to 3,600,000; then the objects are sent again. */
  readonly commitmentTimeoutMs?: number | undefined;
}

type Target = { readonly name: string } & (object | (CStoreTarget & CommitmentTarget));
type CommittingTarget = { readonly name: string; readonly commitmentTimeoutMs: number } & CStoreTarget;

export interface CommitmentsOptions {
  readonly index: InstanceIndex;
  readonly destinations: readonly Target[];
  /** Between a failed commitment and sending again. @default 10 s to 30 min */
  readonly backoff?: BackoffOptions | undefined;
  /** Requests for one object that the archive may leave without commitment. @default 20, the last after some hours */
  readonly commitmentRequestsMax?: number | undefined;
  readonly events: CommitmentEvents;
}

export interface CommitmentEvents {
  delivered(instance: number, destination: string): void;
  deliveryFailed(instance: number, destination: string, failure: DeliveryFailure): void;
  indexFailed(error: SaladError): void;
}

const REQUESTS_MAX = 20;
/** Associations that stay open for a report, for each destination. */
const OPEN_MAX = 8;

export class Commitments implements ReportReceiver {
  private readonly targets: ReadonlyMap<string, CommittingTarget>;
  /** Deliveries whose request was taken since the start of the program. */
  private readonly asked = new Set<string>();
  /** By transaction UID. */
  private readonly open = new Map<
    string,
    { readonly name: string; readonly association: RequestAssociation }
  >();

  constructor(private readonly options: CommitmentsOptions) {
    const committing = options.destinations.filter(
      (each): each is CommittingTarget =>
        'commitmentTimeoutMs' in each && each.commitmentTimeoutMs !== undefined,
    );
    this.targets = new Map(committing.map((each) => [each.name, each]));
  }

  /** Whether deliveries to this destination end with a storage commitment. */
  isWanted(destination: string): boolean {
    return this.targets.has(destination);
  }

  /** What was asked before a restart is asked again: its association is gone. */
  start(): void {
    for (const { name } of this.options.destinations) this.options.index.awakenSent(name);
  }

  /**
   * Call when a delivery is due. Where its request was taken, no report came in time.
   * @returns whether its objects will be sent again later
   */
  isOverdue(instance: number, destination: string): boolean {
    if (!this.asked.has(keyOf(instance, destination))) return false;
    if (this.options.index.sentObjects(instance, destination, 'sent').length === 0) return false;
    this.sendAgain(instance, destination, 'no report of storage commitment in time');
    return true;
  }

  /**
   * Asks for the commitment of the objects that were sent. Never rejects, except by errors of SQLite.
   * @returns why the archive cannot be reached; undefined where it can
   */
  async request(instance: number, destination: string, signal: AbortSignal): Promise<string | undefined> {
    const { index } = this.options;
    const objects = index.sentObjects(instance, destination, 'sent');
    if (objects.length === 0) return undefined;
    const target = this.targets.get(destination);
    if (target === undefined) {
      // The setting was turned off after they were sent.
      for (const { kind } of objects) this.end(instance, destination, kind);
      return undefined;
    }
    await this.untilFew(destination);
    if (signal.aborted) return undefined;
    const transactionUid = `2.25.${BigInt(`0x${randomUUID().replaceAll('-', '')}`)}`;
    const key = keyOf(instance, destination);
    // Before the request: its report may come at once, on another association.
    index.beginCommitment(instance, destination, transactionUid, target.commitmentTimeoutMs);
    this.asked.add(key);
    const answer: CommitmentRequest['answer'] = (report) => answerReport(report, this, target.calledAeTitle);
    const association = new RequestAssociation(target, { transactionUid, objects, answer }, signal);
    this.open.set(transactionUid, { name: destination, association });
    void association.closed.then(() => this.open.delete(transactionUid));
    const { result, reason } = await association.outcome;
    if (result === 'delivered' || signal.aborted) return undefined;
    this.asked.delete(key);
    if (result === 'unavailable') {
      index.forgetCommitment(transactionUid);
      return reason;
    }
    if (this.giveUp(instance, destination, reason)) return undefined;
    // A refused request says nothing about other deliveries, which go on; the objects are there and are not sent again.
    const requests = index.commitmentCount(instance, destination);
    const delayMs = waitMs(requests, this.options.backoff ?? SEND_AGAIN);
    index.postponeDelivery(instance, destination, reason, delayMs);
    this.options.events.deliveryFailed(instance, destination, { result: 'uncommitted', reason });
    return undefined;
  }

  isArchive(callingAeTitle: string, calledAeTitle: string): boolean {
    return [...this.targets.values()].some(
      (each) => each.calledAeTitle === callingAeTitle && each.callingAeTitle === calledAeTitle,
    );
  }

  take(report: CommitmentReport, callingAeTitle: string): boolean {
    try {
      this.apply(report, callingAeTitle);
      return true;
    } catch (error) {
      this.options.events.indexFailed(SaladError.from(error));
      return false;
    }
  }

  private apply({ transactionUid, committed, failed }: CommitmentReport, callingAeTitle: string): void {
    const { index } = this.options;
    const found = index.commitment(transactionUid);
    if (found === undefined) return;
    const { instance, destination } = found;
    if (this.targets.get(destination)?.calledAeTitle !== callingAeTitle) return;
    // Also those that are to be sent again: the report came late.
    for (const { kind, sopInstanceUid } of index.sentObjects(instance, destination)) {
      if (committed.has(sopInstanceUid) && !failed.has(sopInstanceUid)) this.end(instance, destination, kind);
    }
    const [missing] = index.sentObjects(instance, destination, 'sent');
    if (missing !== undefined) {
      const reason = failed.get(missing.sopInstanceUid);
      const code = reason === undefined ? 'is not in the report' : `has failure reason ${hex(reason)}`;
      this.sendAgain(instance, destination, `not committed: ${missing.kind} ${code}`);
    }
    this.open.get(transactionUid)?.association.release();
  }

  private end(
    instance: number,
    destination: string,
    kind: Parameters<InstanceIndex['endObject']>[1]['kind'],
  ): void {
    const { index, events } = this.options;
    const state = index.endObject(instance, { destination, kind }, 'delivered', null);
    if (state === 'waiting') return;
    this.asked.delete(keyOf(instance, destination));
    if (state === 'delivered') events.delivered(instance, destination);
  }

  private sendAgain(instance: number, destination: string, reason: string): void {
    const { index, backoff = SEND_AGAIN, events } = this.options;
    this.asked.delete(keyOf(instance, destination));
    if (this.giveUp(instance, destination, reason)) return;
    const attempts = Math.max(1, index.commitmentCount(instance, destination));
    index.sendAgain(instance, destination, reason, waitMs(attempts, backoff));
    events.deliveryFailed(instance, destination, { result: 'uncommitted', reason });
  }

  /**
   * An archive that never commits must be seen by a person: after the last request the delivery is a dead letter.
   * @returns whether it was the last
   */
  private giveUp(instance: number, destination: string, reason: string): boolean {
    const { index, events, commitmentRequestsMax = REQUESTS_MAX } = this.options;
    const requests = index.commitmentCount(instance, destination);
    if (requests < commitmentRequestsMax) return false;
    const text = `${reason}, after ${requests} requests`;
    for (const { kind } of index.sentObjects(instance, destination)) {
      index.endObject(instance, { destination, kind }, 'dead-letter', text);
    }
    events.deliveryFailed(instance, destination, { result: 'rejected', reason: text });
    return true;
  }

  private async untilFew(destination: string): Promise<void> {
    for (;;) {
      const open = [...this.open.values()].filter(({ name }) => name === destination);
      if (open.length < OPEN_MAX) return;
      await Promise.race(open.map(({ association }) => association.closed));
    }
  }
}

function keyOf(instance: number, destination: string): string {
  return `${instance} ${destination}`;
}

function hex(code: number): string {
  return `0x${code.toString(16).padStart(4, '0')}`;
}
