/** How the delivery of one object ended. */

/**
 * - `delivered`: the archive says that it has the object.
 * - `rejected`: it does not take this object.
 * - `unavailable`: it takes nothing now, or nothing from this program, or its answer is unclear: it is sent again.
 */
export interface DeliveryOutcome {
  readonly result: 'delivered' | 'rejected' | 'unavailable';
  /** No text of the archive, which may repeat values of the object. */
  readonly reason: string;
  /** Of `unavailable`. @default 'archive' */
  readonly cause?: FailureCause;
}

/**
 * What a failure lies in.
 * - `archive`: it is away, full, overloaded, or refuses access.
 * - `archiveOrObject`: it answered that it failed, or unclearly; it may do so for this object alone.
 * - `object`: it could not be made, and was not sent.
 */
export type FailureCause = 'archive' | 'archiveOrObject' | 'object';

/** Why a delivery has not ended. `uncommitted`: the archive did not commit the storage of the objects that it took. */
export interface DeliveryFailure {
  readonly result: 'rejected' | 'unavailable' | 'uncommitted';
  readonly reason: string;
}

/** Statuses of PS3.4 table B.2-1 and PS3.7 annex C. */
const DUPLICATE = 0x0111;
const OUT_OF_RESOURCES = 0xa7;
const PROCESSING_FAILURE = 0x0110;
/** Not authorized, and a limit of resources. */
const REFUSED_FOR_ALL: ReadonlySet<number> = new Set([0x0124, 0x0213]);

/** @param status of a C-STORE, or a failure reason of STOW-RS */
export function outcomeOfStatus(status: number, reason: string): DeliveryOutcome {
  // A warning (B000H to BFFFH) says that the object was stored.
  if (status === 0 || status >> 12 === 0xb) return { result: 'delivered', reason };
  // The UID is of this content alone, so it is there already.
  if (status === DUPLICATE) return { result: 'delivered', reason: 'it was there already' };
  if (status === PROCESSING_FAILURE) return { result: 'unavailable', reason, cause: 'archiveOrObject' };
  const isAway = status >> 8 === OUT_OF_RESOURCES || REFUSED_FOR_ALL.has(status);
  return { result: isAway ? 'unavailable' : 'rejected', reason };
}
