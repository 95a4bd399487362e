import type { AcquisitionAccepted, PixelRows, PixelTile } from '../../../src/gen/salad/v1/types.js';

/**
 * Pixels to send: whole rows, or tiles at working resolution. Tiles score as rows do where they hold display values
 * (`bitsAllocated: 32`, see `displayTiles`).
 */
export type PixelChunk =
  | { readonly type: 'rows'; readonly rows: PixelRows }
  | { readonly type: 'tiles'; readonly tiles: readonly PixelTile[] };

/**
 * The pixels of one acquisition.
 *
 * - An array of chunks: sent from its start, as often as needed.
 * - A function: called once the server has accepted, with the geometry a client in tile mode needs to cut. It is
 *   called again for every further attempt and must then give the same pixels from the start.
 * - An async iterable, such as a generator that reads a detector: can be read once, so a broken acquisition is
 *   not tried again.
 */
export type PixelSource =
  | readonly PixelChunk[]
  | ((accepted: AcquisitionAccepted) => AsyncIterable<PixelChunk> | readonly PixelChunk[])
  | AsyncIterable<PixelChunk>;

/** Whether a source gives its pixels again for a further attempt. */
export function isReplayable(source: PixelSource): boolean {
  return typeof source === 'function' || Array.isArray(source);
}

/** A fresh iterator over the source. */
export function iteratorOf(
  source: AsyncIterable<PixelChunk> | readonly PixelChunk[],
): AsyncIterator<PixelChunk, unknown> {
  return Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : fromArray(source);
}

async function* fromArray(chunks: readonly PixelChunk[]): AsyncGenerator<PixelChunk, void, undefined> {
  yield* chunks;
}
