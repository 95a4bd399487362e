/** Computes the fields of a `BatchReport` from the tiles of the batch. */

interface ReportedTile {
  readonly payload: { readonly tag: object | undefined };
  /** When the tile was queued, in ms of the batcher's clock. */
  readonly readyAt: number;
}

/**
 * When the first tile of each stream was queued, by the tag of the stream; omits streams without a tag.
 * @param tiles of a batch; those of a stream in the order in which they were queued
 */
export function queuedSinceByTag(tiles: readonly ReportedTile[]): ReadonlyMap<object, number> {
  const queuedSince = new Map<object, number>();
  for (const { payload, readyAt } of tiles) {
    const { tag } = payload;
    if (tag !== undefined && !queuedSince.has(tag)) queuedSince.set(tag, readyAt);
  }
  return queuedSince;
}
