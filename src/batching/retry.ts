/** Decides what happens to the tiles of a batch that failed: they are scored again in smaller batches, or they fail. */

/** How often a batch was tried, and how. */
export interface RetryState {
  /** One tile that failed in a batch of its own; it runs with nothing else in flight. */
  readonly isAlone: boolean;
  /** Engines lost while it ran with nothing else in flight. */
  readonly lossesAlone: number;
}

export const FIRST_TRY: RetryState = { isAlone: false, lossesAlone: 0 };

/**
 * An engine loss may have any cause, so a tile is not failed for one. A tile that is alone in flight at several losses
 * is likely their cause, and fails.
 */
const LOSSES_ALONE_MAX = 3;

/** Batches of tiles that are scored again. */
export interface Retry<T> extends RetryState {
  readonly parts: readonly (readonly T[])[];
}

/**
 * Splits a failed batch into halves, so that one bad tile does not fail the others.
 * @param tiles at least one
 * @param isLoss whether an engine was lost
 * @returns undefined if the only tile must not be tried again
 */
export function splitForRetry<T>(
  tiles: readonly T[],
  { isAlone, lossesAlone }: RetryState,
  isLoss: boolean,
): Retry<T> | undefined {
  const losses = isAlone && isLoss ? lossesAlone + 1 : lossesAlone;
  if (isAlone && (losses === lossesAlone || losses >= LOSSES_ALONE_MAX)) return undefined;
  const half = Math.ceil(tiles.length / 2);
  const parts = [tiles.slice(0, half), tiles.slice(half)].filter((part) => part.length > 0);
  return { parts, isAlone: tiles.length === 1, lossesAlone: losses };
}
