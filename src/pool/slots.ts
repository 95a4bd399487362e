/**
 * Shared-memory batch slots. A slot is one SharedArrayBuffer that main thread and workers view alike: tiles are
 * cut into it, an engine reads and writes in place, and only its number crosses the thread boundary.
 */
import type { PatchBatch } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';

/** What decides the layout of a model's batches. */
export interface SlotShape {
  /** Pixels of a tile, halo included. */
  readonly tilePixels: number;
  /** Patches per tile (P), embedding size (D), neighbours (K). */
  readonly patchCount: number;
  readonly dimension: number;
  readonly neighbourCount: number;
  /** Numbers that tell how a tile was aligned, in place, before it was scored; 0: tiles are not aligned. */
  readonly alignmentNumbers: number;
}

/** A slot seen through one model's shape. */
export interface SlotView {
  /** Tiles that fit. */
  readonly capacity: number;
  /** uint8 [capacity, tilePixels]. */
  readonly pixels: Uint8Array;
  /** int32 [capacity, 2]: tile row, tile column. */
  readonly positions: Int32Array;
  /** float64 [capacity, alignmentNumbers]: how each tile was aligned (`fromNumbers`); empty where tiles are not aligned. */
  readonly alignments: Float64Array;
  readonly patches: PatchBatch;
}

/** Sections start on cache lines, so that two cores never fight over one. */
const ALIGNMENT = 64;

const align = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Values of one tile in each array of a slot. */
function valuesPerTile({ tilePixels, patchCount, neighbourCount, dimension, alignmentNumbers }: SlotShape) {
  const neighbours = patchCount * neighbourCount;
  return {
    pixels: tilePixels,
    positions: 2,
    scores: patchCount,
    neighbours,
    embeddings: patchCount * dimension,
    alignments: alignmentNumbers,
  };
}

function sectionBytes(shape: SlotShape, capacity: number): readonly number[] {
  const { pixels, positions, scores, neighbours, embeddings, alignments } = valuesPerTile(shape);
  const wide = [positions, scores, neighbours, neighbours, embeddings].map(
    (values) => values * Float32Array.BYTES_PER_ELEMENT,
  );
  return [pixels, ...wide, alignments * Float64Array.BYTES_PER_ELEMENT].map((bytes) => capacity * bytes);
}

/** Bytes a slot needs for `capacity` tiles of this shape. */
export function slotBytes(shape: SlotShape, capacity: number): number {
  return sectionBytes(shape, capacity).reduce((sum, bytes) => sum + align(bytes), 0);
}

/** @throws SaladError ENGINE_UNAVAILABLE where there is not so much memory. */
export function allocateSlots(count: number, bytes: number): readonly SharedArrayBuffer[] {
  try {
    return Array.from({ length: count }, () => new SharedArrayBuffer(bytes));
  } catch (error) {
    const mib = Math.ceil((count * bytes) / 2 ** 20);
    const why = `no memory for ${count} batch slots (${mib} MiB): fewer workers or a smaller maxBatchSize need less`;
    throw new SaladError('ENGINE_UNAVAILABLE', why, { cause: error });
  }
}

/** Views of the first bytes of `buffer`. Both sides of the thread boundary call this with equal arguments. */
export function viewSlot(buffer: SharedArrayBuffer, shape: SlotShape, capacity: number): SlotView {
  const offsets: number[] = [];
  let offset = 0;
  const sizes = sectionBytes(shape, capacity);
  for (const bytes of sizes) {
    offsets.push(offset);
    offset += align(bytes);
  }
  const floats = (section: number) =>
    new Float32Array(buffer, offsets[section]!, sizes[section]! / Float32Array.BYTES_PER_ELEMENT);
  const integers = (section: number) =>
    new Int32Array(buffer, offsets[section]!, sizes[section]! / Int32Array.BYTES_PER_ELEMENT);
  return {
    capacity,
    pixels: new Uint8Array(buffer, offsets[0]!, sizes[0]!),
    positions: integers(1),
    alignments: new Float64Array(buffer, offsets[6]!, sizes[6]! / Float64Array.BYTES_PER_ELEMENT),
    patches: {
      scores: floats(2),
      neighbourIndices: integers(3),
      neighbourDistances: floats(4),
      embeddings: floats(5),
    },
  };
}

/** Places `first` to `last` (exclusive) of a slot, as a slot of their own. */
export function pieceOf(view: SlotView, shape: SlotShape, first: number, last: number): SlotView {
  const cut = <T extends { subarray(from: number, to: number): T }>(array: T, values: number) =>
    array.subarray(first * values, last * values);
  const perTile = valuesPerTile(shape);
  const { patches } = view;
  return {
    capacity: last - first,
    pixels: cut(view.pixels, perTile.pixels),
    positions: cut(view.positions, perTile.positions),
    alignments: cut(view.alignments, perTile.alignments),
    patches: {
      scores: cut(patches.scores, perTile.scores),
      neighbourIndices: cut(patches.neighbourIndices, perTile.neighbours),
      neighbourDistances: cut(patches.neighbourDistances, perTile.neighbours),
      embeddings: cut(patches.embeddings, perTile.embeddings),
    },
  };
}
