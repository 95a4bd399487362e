/** The index of an inbox: instances, their states, deliveries and conflicts. Every change is one transaction. */
import { IndexReader } from './index-reader.js';
import {
  type Conflict,
  deadLetterReason,
  ENDED_WHILE_SCORED,
  type Instance,
  type InstanceIdentity,
  type Priority,
  type State,
} from './instance.js';

export interface NewInstance extends InstanceIdentity {
  readonly contentHash: string;
  readonly file: string;
  readonly bytes: number;
  readonly priority: Priority;
}

/**
 * Longest time until a next attempt that is believed: after a clock that was ahead is set right, an instance must not
 * wait for years.
 */
const NEXT_ATTEMPT_MS_MAX = 3_600_000;

export class InstanceIndex extends IndexReader {
  /** Adds an instance in the state `received`. @returns its id @throws where its UID is known already */
  add(instance: NewInstance): number {
    const { sopInstanceUid, sopClassUid, syntaxUid, contentHash, file, bytes, priority } = instance;
    const { lastInsertRowid } = this.database
      .prepare(
        `INSERT INTO instances (sopInstanceUid, sopClassUid, syntaxUid, contentHash, file, bytes, priority, state,
          receivedMs, changedMs) VALUES (?, ?, ?, ?, ?, ?, ?, 'received', ?, ?)`,
      )
      .run(
        sopInstanceUid,
        sopClassUid,
        syntaxUid,
        contentHash,
        file,
        bytes,
        priority,
        this.now(),
        this.now(),
      );
    return Number(lastInsertRowid);
  }

  /**
   * The next instance to send to the server, which becomes `streaming`: STAT first, then by arrival.
   * @param only of this priority
   */
  takeNext(only?: Priority): Instance | undefined {
    const find = () =>
      this.one(
        `SELECT * FROM instances WHERE state = 'received' AND (nextAttemptMs <= ? OR nextAttemptMs > ?)
          AND priority IN (?, ?) ORDER BY priority = 'routine', id LIMIT 1`,
        ...[this.now(), this.now() + NEXT_ATTEMPT_MS_MAX, only ?? 'routine', only ?? 'stat'],
      );
    // Reading alone writes nothing to the disk.
    if (find() === undefined) return undefined;
    return this.write(() => {
      const next = find();
      if (next === undefined) return undefined;
      this.run(
        `UPDATE instances SET state = 'streaming', attempts = attempts + 1, changedMs = ? WHERE id = ?`,
        this.now(),
        next.id,
      );
      return this.byId(next.id);
    });
  }

  /** An attempt to score failed: it waits for the next one. */
  postpone(id: number, reason: string, delayMs: number): void {
    this.change(id, ['streaming'], 'received', reason, this.now() + delayMs);
  }

  /** An attempt ended for a reason that is not its own: it does not count. Until the next one others come first. */
  release(id: number, reason: string | null, delayMs: number): void {
    this.write(() => {
      this.change(id, ['streaming'], 'received', reason, delayMs === 0 ? 0 : this.now() + delayMs);
      this.run('UPDATE instances SET attempts = attempts - 1 WHERE id = ?', id);
    });
  }

  /** It has a result, which goes to the destinations. */
  scored(id: number, result: string, destinations: readonly string[]): void {
    this.write(() => {
      this.change(id, ['streaming'], 'scored', null);
      this.run('UPDATE instances SET result = ? WHERE id = ?', result, id);
      for (const destination of destinations) {
        this.run(
          `INSERT INTO deliveries (instance, destination, state) VALUES (?, ?, 'waiting')
            ON CONFLICT (instance, destination) DO NOTHING`,
          id,
          destination,
        );
      }
    });
  }

  /** It cannot be scored, or its file is lost. */
  deadLetter(id: number, reason: string): void {
    this.change(id, ['received', 'streaming', 'scored'], 'dead-letter', reason);
  }

  /** A missing or damaged file was received again, with this many bytes: the instance is scored anew. */
  restored(id: number, bytes: number): void {
    this.run(
      `UPDATE instances SET state = 'received', reason = NULL, attempts = 0, nextAttemptMs = 0, bytes = ?, changedMs = ?
        WHERE id = ?`,
      bytes,
      this.now(),
      id,
    );
  }

  /** The next instance whose result goes to a destination; one destination never delays another. */
  nextDelivery(destination: string): Instance | undefined {
    return this.one(
      `SELECT instances.* FROM deliveries JOIN instances ON instances.id = deliveries.instance
        WHERE destination = ? AND deliveries.state = 'waiting' AND instances.state = 'scored'
          AND (deliveries.nextAttemptMs <= ? OR deliveries.nextAttemptMs > ?)
        ORDER BY priority = 'routine', instances.id LIMIT 1`,
      destination,
      this.now(),
      this.now() + NEXT_ATTEMPT_MS_MAX,
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

  /** Ends a delivery. With the last one the instance is delivered, or a dead letter where one of them failed. */
  endDelivery(id: number, destination: string, failure?: string): void {
    this.write(() => {
      const ended = this.run(
        `UPDATE deliveries SET state = ?, attempts = attempts + 1, reason = ? WHERE instance = ? AND destination = ?`,
        failure === undefined ? 'delivered' : 'dead-letter',
        failure ?? null,
        id,
        destination,
      );
      // 0 where `dropDelivery` came first.
      if (ended > 0) this.settle(id);
    });
  }

  /**
   * Forgets the delivery to a destination that does not exist any more, unless it has been delivered. With the last one
   * the instance is delivered; where it had no other, it is `scored` and waits for nothing.
   */
  dropDelivery(id: number, destination: string): void {
    this.write(() => {
      this.run(
        `DELETE FROM deliveries WHERE instance = ? AND destination = ? AND state <> 'delivered'`,
        id,
        destination,
      );
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
  }

  /** A dead letter is tried again: delivered where it has a result, else scored. @returns false where it is none */
  retry(id: number): boolean {
    return this.write(() => {
      const instance = this.byId(id);
      if (instance?.state !== 'dead-letter') return false;
      this.change(id, ['dead-letter'], instance.result === null ? 'received' : 'scored', null);
      this.run('UPDATE instances SET attempts = 0 WHERE id = ?', id);
      this.run(
        `UPDATE deliveries SET state = 'waiting', attempts = 0, reason = NULL, nextAttemptMs = 0
          WHERE instance = ? AND state = 'dead-letter'`,
        id,
      );
      return true;
    });
  }

  /** Its file was removed; the row stays, so that the same content is known when it comes again. */
  fileRemoved(id: number): void {
    this.run(`UPDATE instances SET bytes = 0 WHERE id = ? AND state = 'delivered'`, id);
  }

  /** Removes an instance from the index. */
  remove(id: number): void {
    this.run('DELETE FROM instances WHERE id = ?', id);
  }

  /**
   * After a restart nothing is being sent. An instance that was being sent every time when the program ended may be the
   * cause: after so many attempts it is a dead letter.
   * @returns how many instances were being sent
   */
  resetStreaming(attemptsMax: number): number {
    return this.write(() => {
      const isTried = `state = 'streaming' AND attempts >= ?`;
      const ended = this.run(
        `UPDATE instances SET state = 'dead-letter', reason = ?, changedMs = ? WHERE ${isTried}`,
        ENDED_WHILE_SCORED,
        this.now(),
        attemptsMax,
      );
      const reset = this.run(
        `UPDATE instances SET state = 'received', nextAttemptMs = 0, changedMs = ? WHERE state = 'streaming'`,
        this.now(),
      );
      return ended + reset;
    });
  }

  addConflict({ sopInstanceUid, contentHash, file }: Omit<Conflict, 'receivedMs'>): void {
    this.run(
      `INSERT INTO conflicts (sopInstanceUid, contentHash, file, receivedMs) VALUES (?, ?, ?, ?)
        ON CONFLICT (sopInstanceUid, contentHash) DO NOTHING`,
      sopInstanceUid,
      contentHash,
      file,
      this.now(),
    );
  }

  /** @throws Error where the instance is in none of the states `from`: another process changed it */
  private change(
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

  private write<T>(work: () => T): T {
    return this.database.transaction(work).immediate();
  }
}
