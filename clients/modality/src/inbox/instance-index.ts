/** The index of an inbox: instances, their states, deliveries and conflicts. Every change is one transaction. */
import { DeliveryIndex, NEXT_ATTEMPT_MS_MAX } from './delivery-index.js';
import {
  type Conflict,
  ENDED_WHILE_SCORED,
  type Instance,
  type InstanceIdentity,
  type Priority,
  type StoredMap,
  type WantedObjects,
} from './instance.js';

export interface NewInstance extends InstanceIdentity {
  readonly contentHash: string;
  readonly file: string;
  readonly bytes: number;
  readonly priority: Priority;
}

export class InstanceIndex extends DeliveryIndex {
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
   * @param onlyPriority takes an instance of this priority only
   */
  takeNext(onlyPriority?: Priority): Instance | undefined {
    const find = () =>
      this.one(
        `SELECT * FROM instances WHERE state = 'received' AND (nextAttemptMs <= ? OR nextAttemptMs > ?)
          AND priority IN (?, ?) ORDER BY priority = 'routine', id LIMIT 1`,
        ...[this.now(), this.now() + NEXT_ATTEMPT_MS_MAX, onlyPriority ?? 'routine', onlyPriority ?? 'stat'],
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

  /** An attempt to score failed: the instance waits for the next one. */
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

  /** It has a result, of which the destinations get objects. @param maps that these are drawn from */
  scored(
    id: number,
    result: string,
    wanted: readonly WantedObjects[],
    maps: readonly StoredMap[] = [],
  ): void {
    this.write(() => {
      this.change(id, ['streaming'], 'scored', null);
      this.run('UPDATE instances SET result = ? WHERE id = ?', result, id);
      for (const { frame, rows, columns, scale, data } of maps) {
        this.run(
          'INSERT OR REPLACE INTO maps (instance, frame, rows, columns, scale, data) VALUES (?, ?, ?, ?, ?, ?)',
          ...[id, frame, rows, columns, scale, Buffer.from(data)],
        );
      }
      for (const { destination, kinds } of wanted) {
        this.run(
          `INSERT INTO deliveries (instance, destination, state) VALUES (?, ?, 'waiting')
            ON CONFLICT (instance, destination) DO NOTHING`,
          id,
          destination,
        );
        for (const kind of kinds) {
          this.run(
            `INSERT INTO objects (instance, destination, kind, state) VALUES (?, ?, ?, 'waiting')
              ON CONFLICT (instance, destination, kind) DO NOTHING`,
            ...[id, destination, kind],
          );
        }
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
      this.run(
        `UPDATE objects SET state = 'waiting', reason = NULL WHERE instance = ? AND state = 'dead-letter'`,
        id,
      );
      return true;
    });
  }

  /**
   * Corrects the times of delivery after the clock was set. Set forward by so many ms, it makes every instance look older
   * than it is. A time in the future is of a clock that was ahead, and becomes now: its file would stay for too long.
   */
  correctDelivered(forwardMs: number): void {
    this.run(
      `UPDATE instances SET changedMs = min(changedMs + ?1, ?2)
        WHERE state = 'delivered' AND bytes > 0 AND (?1 > 0 OR changedMs > ?2)`,
      Math.round(forwardMs),
      this.now(),
    );
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
}
