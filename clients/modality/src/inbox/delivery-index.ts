/** Deliveries in the index: what goes to which destination, and how that makes the state of an instance. */
import { CommitmentIndex } from './commitment-index.js';
import {
  type Delivery,
  type DeliveryObject,
  deadLetterReason,
  type Instance,
  type State,
} from './instance.js';

/**
 * Longest wait for a next attempt. A later time in the index comes from a clock that was ahead and has been set right;
 * it is ignored, so that the instance does not wait for years.
 */
export const NEXT_ATTEMPT_MS_MAX = 3_600_000;

export class DeliveryIndex extends CommitmentIndex {
  /**
   * The next instance whose result goes to a destination; one destination never delays another.
   * @param except numbers of instances that are left out
   */
  nextDelivery(destination: string, except: Iterable<number> = []): Instance | undefined {
    return this.one(
      `SELECT instances.* FROM deliveries JOIN instances ON instances.id = deliveries.instance
        WHERE destination = ? AND deliveries.state = 'waiting' AND instances.state = 'scored'
          AND (deliveries.nextAttemptMs <= ? OR deliveries.nextAttemptMs > ?)
          AND instances.id NOT IN (SELECT value FROM json_each(?))
        ORDER BY priority = 'routine', instances.id LIMIT 1`,
      ...[destination, this.now(), this.now() + NEXT_ATTEMPT_MS_MAX, JSON.stringify([...except])],
    );
  }

  postponeDelivery(id: number, destination: string, reason: string, delayMs: number): void {
    this.run(
      `UPDATE deliveries SET attempts = attempts + 1, reason = ?, nextAttemptMs = ?
        WHERE instance = ? AND destination = ? AND state = 'waiting'`,
      reason,
      this.now() + delayMs,
      id,
      destination,
    );
  }

  /**
   * Ends one object of a delivery, with the last one the delivery, and with the last delivery the instance: it is
   * delivered, or a dead letter where an object was refused.
   * @returns the state of the delivery
   */
  endObject(
    id: number,
    { destination, kind }: Pick<DeliveryObject, 'destination' | 'kind'>,
    state: Exclude<DeliveryObject['state'], 'waiting' | 'sent'>,
    reason: string | null,
  ): Delivery['state'] {
    return this.write(() => {
      this.run(
        'UPDATE objects SET state = ?, reason = ? WHERE instance = ? AND destination = ? AND kind = ?',
        ...[state, reason, id, destination, kind],
      );
      const all = this.objects(id).filter((object) => object.destination === destination);
      if (all.some((object) => object.state === 'waiting' || object.state === 'sent')) return 'waiting';
      const failed = all.filter((object) => object.state === 'dead-letter');
      const reasons = failed.map((each) => (each.kind === 'report' ? '' : `${each.kind}: `) + each.reason);
      this.endDelivery(id, destination, reasons.join('; ') || undefined);
      return failed.length === 0 ? 'delivered' : 'dead-letter';
    });
  }

  /**
   * Forgets the delivery to a destination that does not exist any more, unless it has been delivered. With the last one
   * the instance is delivered; where it had no other, it is `scored` and waits for nothing.
   */
  dropDelivery(id: number, destination: string): void {
    this.write(() => {
      const dropped = this.run(
        `DELETE FROM deliveries WHERE instance = ? AND destination = ? AND state <> 'delivered'`,
        id,
        destination,
      );
      if (dropped === 0) return;
      this.run('DELETE FROM objects WHERE instance = ? AND destination = ?', id, destination);
      const { state, reason } = this.byId(id)!;
      const isRefused =
        state === 'dead-letter' && deadLetterReason(reason ?? '', true) === 'DELIVERY_REJECTED';
      if (state === 'scored' || isRefused) this.settle(id);
    });
  }

  /** The state of an instance with a result follows from its deliveries, once none waits. */
  private settle(id: number): void {
    const all = this.deliveries(id);
    if (all.some(({ state }) => state === 'waiting')) return;
    const failed = all.filter(({ state }) => state === 'dead-letter');
    const reason = failed.map((each) => `${each.destination}: ${each.reason}`).join('; ') || null;
    const state = failed.length > 0 ? 'dead-letter' : all.length > 0 ? 'delivered' : 'scored';
    this.change(id, ['scored', 'dead-letter'], state, reason);
    if (state === 'delivered') this.run('DELETE FROM maps WHERE instance = ?', id);
  }

  /** @throws Error where the instance is in none of the states `from`: another process changed it */
  protected change(
    id: number,
    from: readonly State[],
    to: State,
    reason: string | null,
    nextAttemptMs = 0,
  ): void {
    const changed = this.run(
      `UPDATE instances SET state = ?, reason = ?, nextAttemptMs = ?, changedMs = ?
        WHERE id = ? AND state IN (${from.map(() => '?').join(', ')})`,
      ...[to, reason, nextAttemptMs, this.now(), id, ...from],
    );
    if (changed !== 1) throw new Error(`instance ${id} is not ${from.join(' or ')}`);
  }

  /** Call in a transaction. */
  private endDelivery(id: number, destination: string, failure: string | undefined): void {
    const ended = this.run(
      `UPDATE deliveries SET state = ?, attempts = attempts + 1, reason = ? WHERE instance = ? AND destination = ?`,
      failure === undefined ? 'delivered' : 'dead-letter',
      failure ?? null,
      id,
      destination,
    );
    this.run('DELETE FROM commitments WHERE instance = ? AND destination = ?', id, destination);
    // 0 where `dropDelivery` came first.
    if (ended > 0) this.settle(id);
  }
}
