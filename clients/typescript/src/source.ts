/** The pixels of an acquisition: chunks of rows or tiles. */
import type { AcquisitionAccepted, PixelRows, PixelTile } from '../../../src/gen/salad/v1/types.js';

/**
 * Pixels of one message: whole rows, or tiles at working resolution. Tiles with display values (`bitsAllocated: 32`, see
 * `displayTiles`) get the same scores as rows.
 */
export type PixelChunk =
  | { readonly type: 'rows'; readonly rows: PixelRows }
  | { readonly type: 'tiles'; readonly tiles: readonly PixelTile[] };

/**
 * The pixels of one acquisition.
 *
 * - An array of chunks: every attempt sends it from the start.
 * - A function: called after the server has accepted the acquisition, with the geometry that is needed to cut tiles. Every
 *   attempt calls it again; it must return the same pixels from the start.
 * - An async iterable, such as a generator that reads a detector: it can only be read once, so a broken acquisition is not
 *   retried.
 */
export type PixelSource =
  | readonly PixelChunk[]
  | ((accepted: AcquisitionAccepted) => AsyncIterable<PixelChunk> | readonly PixelChunk[])
  | AsyncIterable<PixelChunk>;

/** Whether a source can be read again for a retry. */
export function isReplayable(source: PixelSource): boolean {
  return typeof source === 'function' || Array.isArray(source);
}

/** Starts to read the source. */
export function iteratorOf(
  source: AsyncIterable<PixelChunk> | readonly PixelChunk[],
): AsyncIterator<PixelChunk, unknown> {
  return Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : fromArray(source);
}

async function* fromArray(chunks: readonly PixelChunk[]): AsyncGenerator<PixelChunk, void, undefined> {
  yield* chunks;
}
