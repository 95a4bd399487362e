/**
 * Both threads. The layout of batch slots in shared memory. A slot is one SharedArrayBuffer with the same views in the
 * main thread and in the workers: tiles are cut into it, an engine reads and writes in place, and messages carry only
 * the number of the slot.
 */
import type { PatchBatch } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';

/** The sizes that decide the layout of a model's batches. */
export interface SlotShape {
  /** Pixels of a tile, halo included. */
  readonly tilePixels: number;
  /** Patches per tile (P), embedding size (D), neighbours (K). */
  readonly patchCount: number;
  readonly dimension: number;
  readonly neighbourCount: number;
  /** Numbers that describe how a worker aligned a tile; 0 = workers do not align tiles. */
  readonly alignmentNumbers: number;
}

/** The arrays of a slot with one model's layout. */
export interface SlotView {
  /** Tiles. */
  readonly capacity: number;
  /** uint8 [capacity, tilePixels]. */
  readonly pixels: Uint8Array;
  /** int32 [capacity, 2]: tile row, tile column. */
  readonly positions: Int32Array;
  /**
   * float64 [capacity, alignmentNumbers]: how each tile was aligned (`fromNumbers`); empty where workers do not align.
   */
  readonly alignments: Float64Array;
  readonly patches: PatchBatch;
}

/** Sections start on cache lines, so that two cores never write to the same line. */
const CACHE_LINE_BYTES = 64;

const toCacheLine = (bytes: number): number => Math.ceil(bytes / CACHE_LINE_BYTES) * CACHE_LINE_BYTES;

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
  // int32 and float32 alike.
  const wordSections = [positions, scores, neighbours, neighbours, embeddings].map(
    (values) => values * Float32Array.BYTES_PER_ELEMENT,
  );
  return [pixels, ...wordSections, alignments * Float64Array.BYTES_PER_ELEMENT].map(
    (bytes) => capacity * bytes,
  );
}

/** Bytes of a slot for `capacity` tiles of this shape. */
export function slotBytes(shape: SlotShape, capacity: number): number {
  return sectionBytes(shape, capacity).reduce((sum, bytes) => sum + toCacheLine(bytes), 0);
}

/** @throws SaladError ENGINE_UNAVAILABLE where memory is too small. */
export function allocateSlots(count: number, bytes: number): readonly SharedArrayBuffer[] {
  try {
    return Array.from({ length: count }, () => new SharedArrayBuffer(bytes));
  } catch (error) {
    const mib = Math.ceil((count * bytes) / 2 ** 20);
    const message = `no memory for ${count} batch slots (${mib} MiB): fewer workers or a smaller maxBatchSize need less`;
    throw new SaladError('ENGINE_UNAVAILABLE', message, { cause: error });
  }
}

/** Views of the first bytes of `buffer`. The main thread and the workers call this with equal arguments. */
export function viewSlot(buffer: SharedArrayBuffer, shape: SlotShape, capacity: number): SlotView {
  const offsets: number[] = [];
  let offset = 0;
  const sizes = sectionBytes(shape, capacity);
  for (const bytes of sizes) {
    offsets.push(offset);
    offset += toCacheLine(bytes);
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

/** Views of the tiles `first` to `end` (exclusive) of a slot: a piece of its batch. */
export function pieceOf(view: SlotView, shape: SlotShape, first: number, end: number): SlotView {
  const cut = <T extends { subarray(from: number, to: number): T }>(array: T, values: number) =>
    array.subarray(first * values, end * values);
  const perTile = valuesPerTile(shape);
  const { patches } = view;
  return {
    capacity: end - first,
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
