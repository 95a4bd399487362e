/** Storage commitment in the index: objects that were sent and are not committed, and the transactions about them. */
import { IndexReader } from './index-reader.js';
import type { DeliveryObject, ObjectKind } from './instance.js';

/** An object that an archive took, as it is named in a request for storage commitment. */
export interface SentObject {
  readonly kind: ObjectKind;
  readonly sopClassUid: string;
  readonly sopInstanceUid: string;
}

/** Number of deliveries of one destination whose objects wait for a storage commitment. */
export interface CommitmentCount {
  readonly destination: string;
  readonly count: number;
}

export class CommitmentIndex extends IndexReader {
  /** The archive took an object; its delivery ends when it is committed. Does nothing where it has ended already. */
  objectSent(
    id: number,
    { destination, kind }: Pick<DeliveryObject, 'destination' | 'kind'>,
    { sopClassUid, sopInstanceUid }: Omit<SentObject, 'kind'>,
  ): void {
    this.run(
      `UPDATE objects SET state = 'sent', reason = NULL, sopClassUid = ?, sopInstanceUid = ?
        WHERE instance = ? AND destination = ? AND kind = ? AND state = 'waiting'`,
      ...[sopClassUid, sopInstanceUid, id, destination, kind],
    );
  }

  /** Objects that an archive took and did not commit. @param state `sent`: without those that are to be sent again */
  sentObjects(id: number, destination: string, state?: 'sent'): readonly SentObject[] {
    return this.database
      .prepare(
        `SELECT kind, sopClassUid, sopInstanceUid FROM objects WHERE instance = ? AND destination = ?
          AND sopInstanceUid IS NOT NULL AND state IN ('sent', ?) ORDER BY kind`,
      )
      .all(id, destination, state ?? 'waiting') as readonly SentObject[];
  }

  /** A request for the objects that were sent goes to the archive; they are due again after `timeoutMs`. */
  beginCommitment(id: number, destination: string, transactionUid: string, timeoutMs: number): void {
    this.write(() => {
      this.run(
        'INSERT INTO commitments (transactionUid, instance, destination) VALUES (?, ?, ?)',
        ...[transactionUid, id, destination],
      );
      this.run(
        `UPDATE deliveries SET reason = 'waits for storage commitment', nextAttemptMs = ?
          WHERE instance = ? AND destination = ?`,
        ...[this.now() + timeoutMs, id, destination],
      );
    });
  }

  /** The request did not reach the archive. */
  forgetCommitment(transactionUid: string): void {
    this.run('DELETE FROM commitments WHERE transactionUid = ?', transactionUid);
  }

  /** The delivery that a request was about; undefined where it has ended or there was no such request. */
  commitment(
    transactionUid: string,
  ): { readonly instance: number; readonly destination: string } | undefined {
    return this.database
      .prepare('SELECT instance, destination FROM commitments WHERE transactionUid = ?')
      .get(transactionUid) as { instance: number; destination: string } | undefined;
  }

  /** Number of requests about a delivery. */
  commitmentCount(id: number, destination: string): number {
    const { count } = this.database
      .prepare('SELECT count(*) AS count FROM commitments WHERE instance = ? AND destination = ?')
      .get(id, destination) as { readonly count: number };
    return count;
  }

  /** Objects that were sent and not committed are sent again after `delayMs`. */
  sendAgain(id: number, destination: string, reason: string, delayMs: number): void {
    this.write(() => {
      this.run(
        `UPDATE objects SET state = 'waiting', reason = ? WHERE instance = ? AND destination = ? AND state = 'sent'`,
        ...[reason, id, destination],
      );
      this.run(
        `UPDATE deliveries SET attempts = attempts + 1, reason = ?, nextAttemptMs = ?
          WHERE instance = ? AND destination = ? AND state = 'waiting'`,
        ...[reason, this.now() + delayMs, id, destination],
      );
    });
  }

  /** Deliveries to a destination that wait for a report are due at once. */
  awakenSent(destination: string): void {
    this.run(
      `UPDATE deliveries SET nextAttemptMs = 0 WHERE destination = ?1 AND state = 'waiting' AND instance IN
        (SELECT instance FROM objects WHERE destination = ?1 AND state = 'sent')`,
      destination,
    );
  }

  /** Deliveries that wait for a storage commitment, by destination. */
  commitmentCounts(): readonly CommitmentCount[] {
    const rows = this.database
      .prepare(
        `SELECT destination, count(DISTINCT instance) AS count FROM objects WHERE state = 'sent'
          GROUP BY destination ORDER BY 1`,
      )
      .all() as readonly CommitmentCount[];
    return rows.map(({ destination, count }) => ({ destination, count }));
  }
}
