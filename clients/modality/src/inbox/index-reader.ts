/** What an inbox holds, read from its index. */
import { type IndexDatabase, openDatabase } from './database.js';
import {
  type Conflict,
  type Delivery,
  type DeliveryObject,
  type Instance,
  OBJECT_KINDS,
  type State,
  type StoredMap,
} from './instance.js';

type Row = Readonly<Record<string, unknown>>;

/** Number of deliveries of one destination in one state. */
export interface DeliveryCount {
  readonly destination: string;
  readonly state: Delivery['state'];
  readonly count: number;
}

export class IndexReader {
  protected readonly database: IndexDatabase;

  /** @param now time in ms since 1970 */
  constructor(
    path: string,
    protected readonly now: () => number,
  ) {
    this.database = openDatabase(path);
  }

  close(): void {
    this.database.close();
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

  /** The objects of an instance's deliveries: by destination, then in the order in which they are sent. */
  objects(id: number): readonly DeliveryObject[] {
    const rows = this.database
      .prepare('SELECT destination, kind, state, reason FROM objects WHERE instance = ? ORDER BY destination')
      .all(id);
    const objects = (rows as readonly Row[]).map(
      ({ destination, kind, state, reason }) => ({ destination, kind, state, reason }) as DeliveryObject,
    );
    return OBJECT_KINDS.flatMap((kind) => objects.filter((object) => object.kind === kind)).sort((a, b) =>
      a.destination < b.destination ? -1 : Number(a.destination > b.destination),
    );
  }

  /** The anomaly maps of an instance, by frame; none once it is delivered. */
  maps(id: number): readonly StoredMap[] {
    const rows = this.database
      .prepare('SELECT frame, rows, columns, scale, data FROM maps WHERE instance = ? ORDER BY frame')
      .all(id);
    return (rows as readonly Row[]).map(
      ({ frame, rows: height, columns, scale, data }) =>
        ({ frame, rows: height, columns, scale, data: new Uint8Array(data as ArrayBuffer) }) as StoredMap,
    );
  }

  /** Instances whose result has not gone to a destination: it waits, or the archive refused it. */
  undelivered(destination: string): readonly Instance[] {
    const rows = this.database
      .prepare(
        `SELECT instances.* FROM deliveries JOIN instances ON instances.id = deliveries.instance
          WHERE destination = ? AND deliveries.state IN ('waiting', 'dead-letter') ORDER BY instances.id`,
      )
      .all(destination);
    return (rows as readonly Row[]).map(instanceOf);
  }

  /** Number of deliveries by destination and state. */
  deliveryCounts(): readonly DeliveryCount[] {
    const rows = this.database
      .prepare(
        'SELECT destination, state, count(*) AS count FROM deliveries GROUP BY destination, state ORDER BY 1, 2',
      )
      .all();
    return (rows as readonly Row[]).map(
      ({ destination, state, count }) => ({ destination, state, count }) as DeliveryCount,
    );
  }

  /** Delivered instances whose last change was before a time, and whose file is still there. */
  deliveredBefore(ms: number): readonly Instance[] {
    const rows = this.database
      .prepare(`SELECT * FROM instances WHERE state = 'delivered' AND changedMs < ? AND bytes > 0`)
      .all(ms);
    return (rows as readonly Row[]).map(instanceOf);
  }

  conflicts(): readonly Conflict[] {
    const rows = this.database.prepare('SELECT * FROM conflicts ORDER BY receivedMs, contentHash').all();
    return (rows as readonly Row[]).map(
      ({ sopInstanceUid, contentHash, file, receivedMs }) =>
        ({ sopInstanceUid, contentHash, file, receivedMs }) as Conflict,
    );
  }

  conflictCount(): number {
    return this.number('SELECT count(*) AS value FROM conflicts') ?? 0;
  }

  /** When the oldest instance without a score was received, in ms since 1970; undefined where none waits. */
  oldestUnscored(): number | undefined {
    return this.number(
      `SELECT min(receivedMs) AS value FROM instances WHERE state IN ('received', 'streaming')`,
    );
  }

  /** When the oldest instance whose result waits was received, in ms since 1970, by destination. */
  oldestUndelivered(): ReadonlyMap<string, number> {
    const rows = this.database
      .prepare(
        `SELECT destination, min(receivedMs) AS ms FROM deliveries JOIN instances ON instances.id = deliveries.instance
          WHERE deliveries.state = 'waiting' AND instances.state = 'scored' GROUP BY destination`,
      )
      .all();
    return new Map(
      (rows as readonly { destination: string; ms: number }[]).map(({ destination, ms }) => [
        destination,
        ms,
      ]),
    );
  }

  /** Size of the files of all instances. */
  fileBytes(): number {
    return this.number('SELECT sum(bytes) AS value FROM instances WHERE bytes > 0') ?? 0;
  }

  /** Number of dead letters by reason, and whether they were scored. */
  deadLetterReasons(): readonly {
    readonly reason: string;
    readonly hasResult: boolean;
    readonly count: number;
  }[] {
    const rows = this.database
      .prepare(
        `SELECT reason, result IS NOT NULL AS hasResult, count(*) AS count FROM instances WHERE state = 'dead-letter'
          GROUP BY 1, 2`,
      )
      .all();
    return (rows as readonly { reason: string | null; hasResult: number; count: number }[]).map(
      ({ reason, hasResult, count }) => ({ reason: reason ?? '', hasResult: hasResult === 1, count }),
    );
  }

  private number(sql: string): number | undefined {
    const { value } = this.database.prepare(sql).get() as { readonly value: number | null };
    return value ?? undefined;
  }

  protected one(sql: string, ...values: unknown[]): Instance | undefined {
    const row = this.database.prepare(sql).get(...values) as Row | undefined;
    return row === undefined ? undefined : instanceOf(row);
  }

  /** @returns the number of changed rows */
  protected run(sql: string, ...values: unknown[]): number {
    return this.database.prepare(sql).run(...values).changes;
  }

  protected write<T>(work: () => T): T {
    return this.database.transaction(work).immediate();
  }
}

function instanceOf({ _metadata, ...row }: Row): Instance {
  return row as unknown as Instance;
}
