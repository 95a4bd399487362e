/** What the inbox knows about an instance, and the states that it passes through. */

/**
 * - `received`: on the disk, waits for the server; also after a failed attempt and after a restart.
 * - `streaming`: being sent to the server.
 * - `scored`: has a result, which waits for its destinations, if there are any.
 * - `delivered`: every destination has the result.
 * - `dead-letter`: needs a decision of a person: `retry` or `drop`.
 */
export const STATES = ['received', 'streaming', 'scored', 'delivered', 'dead-letter'] as const;
export type State = (typeof STATES)[number];

/** After so many attempts that failed, or that the end of the program cut off, an instance is a dead letter. */
export const ATTEMPTS_MAX = 10;

/** STAT instances are sent first. */
export const PRIORITIES = ['stat', 'routine'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** How an instance is identified in DICOM. */
export interface InstanceIdentity {
  readonly sopInstanceUid: string;
  readonly sopClassUid: string;
  readonly syntaxUid: string;
}

/** A row of the index. */
export interface Instance extends InstanceIdentity {
  /** Number in this inbox. It identifies no patient, so it may be in logs. */
  readonly id: number;
  /** SHA-256 of transfer syntax and data set, hexadecimal. */
  readonly contentHash: string;
  /** Name of the file in the folder `instances`. */
  readonly file: string;
  /** Size of the file; 0 after it was removed because the instance is delivered. */
  readonly bytes: number;
  readonly priority: Priority;
  readonly state: State;
  /** Why it is a dead letter, or why the last attempt failed; null without one. */
  readonly reason: string | null;
  /** Attempts to score it since it was received or retried. */
  readonly attempts: number;
  /** Not before this time, in ms since 1970. */
  readonly nextAttemptMs: number;
  readonly receivedMs: number;
  readonly changedMs: number;
  /** The result of scoring as JSON; null before. */
  readonly result: string | null;
}

/** Kinds of objects that a destination may get of a result, in the order in which they are sent. */
export const OBJECT_KINDS = ['report', 'segmentation', 'secondaryCapture', 'presentationState'] as const;
export type ObjectKind = (typeof OBJECT_KINDS)[number];

/** A destination, and what it gets of every result. */
export interface WantedObjects {
  readonly destination: string;
  readonly kinds: readonly ObjectKind[];
}

/** One object of a delivery. */
export interface DeliveryObject {
  readonly destination: string;
  readonly kind: ObjectKind;
  /**
   * `sent`: the archive took it and has not committed its storage. `none`: the result has no such object, as the reason
   * says.
   */
  readonly state: 'waiting' | 'sent' | 'delivered' | 'none' | 'dead-letter';
  readonly reason: string | null;
}

/** The anomaly map of one frame as the index keeps it. */
export interface StoredMap {
  /** From 1. */
  readonly frame: number;
  readonly rows: number;
  readonly columns: number;
  /** The colours of the map as JSON. */
  readonly scale: string;
  /** Compressed values. */
  readonly data: Uint8Array;
}

/** Reasons of dead letters, beside those of scoring and of archives. */
export const FILE_IS_MISSING = 'its file is missing';
export const ENDED_WHILE_SCORED = 'the gateway ended while it was being scored, every time';

/**
 * A reason of a dead letter without its details, such as for a metric.
 * @param hasResult whether the instance was scored
 * @returns FILE_LOST, GATEWAY_ENDED, DELIVERY_REJECTED, a reason of `src/errors`, a gRPC status, or OTHER
 */
export function deadLetterReason(reason: string, hasResult: boolean): string {
  if (/^its file (is missing|has \d)/.test(reason)) return 'FILE_LOST';
  if (reason === ENDED_WHILE_SCORED) return 'GATEWAY_ENDED';
  if (hasResult) return 'DELIVERY_REJECTED';
  return /^[A-Z][A-Z_]{0,63}(?=:)/.exec(reason)?.[0] ?? 'OTHER';
}

/** The delivery of an instance's result to one destination. It ends with the last of its objects. */
export interface Delivery {
  readonly destination: string;
  readonly state: 'waiting' | 'delivered' | 'dead-letter';
  readonly reason: string | null;
  readonly attempts: number;
  readonly nextAttemptMs: number;
}

/** An instance that came a second time with other content; its file is kept in the folder `aside`. */
export interface Conflict {
  readonly sopInstanceUid: string;
  readonly contentHash: string;
  readonly file: string;
  readonly receivedMs: number;
}
