/** The index of an inbox: instances, their states, deliveries and conflicts. Every change is one transaction. */
import type { IndexDatabase } from './database.js';
import { openDatabase } from './database.js';
import type { Conflict, Delivery, Instance, InstanceIdentity, Priority, State } from './instance.js';

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

type Row = Readonly<Record<string, unknown>>;

export class InstanceIndex {
  private readonly database: IndexDatabase;

  /** @param now time in ms since 1970 */
  constructor(
    path: string,
    private readonly now: () => number,
  ) {
    this.database = openDatabase(path);
  }

  close(): void {
    this.database.close();
  }

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

  byUid(sopInstanceUid: string): Instance | undefined {
    return this.one('SELECT * FROM instances WHERE sopInstanceUid = ?', sopInstanceUid);
  }

  byId(id: number): Instance | undefined {
    return this.one('SELECT * FROM instances WHERE id = ?', id);
  }

  /** All instances, or those of one state, in the order in which they were received. */
  list(state?: State): readonly Instance[] {
    const where = state === undefined ? '' : 'WHERE state = ?';
    const rows = this.database
      .prepare(`SELECT * FROM instances ${where} ORDER BY id`)
      .all(...(state === undefined ? [] : [state]));
    return (rows as readonly Row[]).map(instanceOf);
  }

  /** Number of instances by state. */
  counts(): Readonly<Record<State, number>> {
    const counts = { received: 0, streaming: 0, scored: 0, delivered: 0, 'dead-letter': 0 };
    const rows = this.database.prepare('SELECT state, count(*) AS count FROM instances GROUP BY state').all();
    for (const { state, count } of rows as readonly { state: State; count: number }[]) counts[state] = count;
    return counts;
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

  /** The lost file of an instance came again: it starts anew. */
  restored(id: number): void {
    this.run(
      `UPDATE instances SET state = 'received', reason = NULL, attempts = 0, nextAttemptMs = 0, changedMs = ?
        WHERE id = ?`,
      this.now(),
      id,
    );
  }

  /** The deliveries of an instance, by name of the destination. */
  deliveries(id: number): readonly Delivery[] {
    const rows = this.database
      .prepare(
        `SELECT destination, state, reason, attempts, nextAttemptMs FROM deliveries WHERE instance = ?
          ORDER BY destination`,
      )
      .all(id);
    return (rows as readonly Row[]).map(
      ({ destination, state, reason, attempts, nextAttemptMs }) =>
        ({ destination, state, reason, attempts, nextAttemptMs }) as Delivery,
    );
  }

  /** Number of deliveries by destination and state. */
  deliveryCounts(): readonly {
    readonly destination: string;
    readonly state: Delivery['state'];
    readonly count: number;
  }[] {
    const rows = this.database
      .prepare(
        'SELECT destination, state, count(*) AS count FROM deliveries GROUP BY destination, state ORDER BY 1, 2',
      )
      .all();
    return (rows as readonly Row[]).map(
      ({ destination, state, count }) =>
        ({ destination, state, count }) as ReturnType<InstanceIndex['deliveryCounts']>[number],
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
      this.run(
        `UPDATE deliveries SET state = ?, attempts = attempts + 1, reason = ? WHERE instance = ? AND destination = ?`,
        failure === undefined ? 'delivered' : 'dead-letter',
        failure ?? null,
        id,
        destination,
      );
      const all = this.deliveries(id);
      if (all.some(({ state }) => state === 'waiting')) return;
      const failed = all.filter(({ state }) => state === 'dead-letter');
      const reason = failed.map((each) => `${each.destination}: ${each.reason}`).join('; ') || null;
      this.change(id, ['scored'], failed.length === 0 ? 'delivered' : 'dead-letter', reason);
    });
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

  /** Delivered instances whose last change was before a time, and whose file is still there. */
  deliveredBefore(ms: number): readonly Instance[] {
    const rows = this.database
      .prepare(`SELECT * FROM instances WHERE state = 'delivered' AND changedMs < ? AND bytes > 0`)
      .all(ms);
    return (rows as readonly Row[]).map(instanceOf);
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
        'the gateway ended while it was being scored, every time',
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

  conflicts(): readonly Conflict[] {
    const rows = this.database.prepare('SELECT * FROM conflicts ORDER BY receivedMs, contentHash').all();
    return (rows as readonly Row[]).map(
      ({ sopInstanceUid, contentHash, file, receivedMs }) =>
        ({ sopInstanceUid, contentHash, file, receivedMs }) as Conflict,
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

  private one(sql: string, ...values: unknown[]): Instance | undefined {
    const row = this.database.prepare(sql).get(...values) as Row | undefined;
    return row === undefined ? undefined : instanceOf(row);
  }

  /** @returns the number of changed rows */
  private run(sql: string, ...values: unknown[]): number {
    return this.database.prepare(sql).run(...values).changes;
  }

  private write<T>(work: () => T): T {
    return this.database.transaction(work).immediate();
  }
}

function instanceOf({ _metadata, ...row }: Row): Instance {
  return row as unknown as Instance;
}
