/** Training tiles, where they come from, and which pairs of them may be compared. */
import { createHash } from 'node:crypto';
import { SaladError } from '../../../errors/index.js';
import { shuffledIndices } from '../../../util/random.js';
import type { SaladConfig } from './config.js';
import { RANDOM_PURPOSE, randomStream } from './random-streams.js';

/** All normal training tiles; one per image at image level. */
export interface TileSource {
  readonly count: number;
  /** Side of a tile in pixels, halo included. */
  readonly size: number;
  /** Per tile: index of its image. */
  readonly imageOf: ArrayLike<number>;
  /** Per tile: index of its patient. */
  readonly patientOf: ArrayLike<number>;
  /** Per tile: row * gridSide + column in the tile grid. */
  readonly cellOf: ArrayLike<number>;
  /** Tiles per side of an image. */
  readonly gridSide: number;
  /** Tiles of one image less than this many cells apart (in both axes) share pixels: ceil(size / stride). */
  readonly overlapCells: number;
  /** u8 [indices.length, size, size], in the order asked for. */
  get(indices: Int32Array): Uint8Array | Promise<Uint8Array>;
}

/** The tiles that own a memory slot. */
export interface SlotTable {
  readonly count: number;
  /** Per slot: tile index, ascending. */
  readonly tileOf: Int32Array;
  /** Slots of the same image that share pixels with this one; empty at image level. */
  overlapping(slot: number): readonly number[];
  /** May `row` be a neighbour of `query`? Not of the same patient at tile level. */
  mayBeNeighbours(query: number, row: number): boolean;
}

/** @throws SaladError TRAINING_DATA_INVALID where the tables and the counts disagree. */
export function checkTileSource(tiles: TileSource): void {
  const { count, size, imageOf, patientOf, cellOf, gridSide } = tiles;
  for (const [name, table] of Object.entries({ imageOf, patientOf, cellOf })) {
    if (table.length !== count) {
      throw new SaladError('TRAINING_DATA_INVALID', `${name} has ${table.length} entries for ${count} tiles`);
    }
  }
  for (let tile = 0; tile < count; tile++) {
    if (cellOf[tile]! >= gridSide * gridSide || cellOf[tile]! < 0) {
      throw new SaladError(
        'TRAINING_DATA_INVALID',
        `tile ${tile} lies outside the ${gridSide} x ${gridSide} grid`,
      );
    }
  }
  if (size < 4) throw new SaladError('TRAINING_DATA_INVALID', `tiles of ${size} pixels are too small`);
}

function slotTiles(tiles: TileSource, tilesPerImage: number | null, seed: number): Int32Array {
  if (tilesPerImage === null) return Int32Array.from({ length: tiles.count }, (_, tile) => tile);
  const ofImage = new Map<number, number[]>();
  for (let tile = 0; tile < tiles.count; tile++) {
    const image = tiles.imageOf[tile]!;
    const list = ofImage.get(image);
    if (list === undefined) ofImage.set(image, [tile]);
    else list.push(tile);
  }
  const chosen: number[] = [];
  for (const [image, members] of ofImage) {
    const random = randomStream(seed, RANDOM_PURPOSE.subset, image);
    const order = shuffledIndices(members.length, random.uniform);
    for (const position of order.subarray(0, tilesPerImage)) chosen.push(members[position]!);
  }
  return Int32Array.from(chosen).sort();
}

/** Gives slots to all tiles, or to a fixed random subset per image (docs/explanation/salad-method.md, section 8). */
export function slotTable(tiles: TileSource, config: SaladConfig, seed: number): SlotTable {
  const tileOf = slotTiles(tiles, config.tilesPerImage, seed);
  const perTile = config.level === 'tile';
  const slotsOfImage = new Map<number, number[]>();
  tileOf.forEach((tile, slot) => {
    const image = tiles.imageOf[tile]!;
    const list = slotsOfImage.get(image);
    if (list === undefined) slotsOfImage.set(image, [slot]);
    else list.push(slot);
  });
  const overlap = (a: number, b: number): boolean => {
    const [first, second] = [tiles.cellOf[tileOf[a]!]!, tiles.cellOf[tileOf[b]!]!];
    const rows = Math.abs(Math.floor(first / tiles.gridSide) - Math.floor(second / tiles.gridSide));
    const columns = Math.abs((first % tiles.gridSide) - (second % tiles.gridSide));
    return rows < tiles.overlapCells && columns < tiles.overlapCells;
  };
  return {
    count: tileOf.length,
    tileOf,
    overlapping(slot) {
      if (!perTile) return [];
      const siblings = slotsOfImage.get(tiles.imageOf[tileOf[slot]!]!)!;
      return siblings.filter((other) => other !== slot && overlap(slot, other));
    },
    mayBeNeighbours: (query, row) =>
      !perTile || tiles.patientOf[tileOf[query]!] !== tiles.patientOf[tileOf[row]!],
  };
}

/** Tiles whose pixels enter the fingerprint: enough to notice other data, cheap for any size. */
const FINGERPRINT_TILES = 256;

/** SHA-256 over the tables and the pixels of evenly spaced tiles: a resumed run must see the same data. */
export async function tileFingerprint(tiles: TileSource): Promise<string> {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([tiles.count, tiles.size, tiles.gridSide, tiles.overlapCells]));
  for (const table of [tiles.imageOf, tiles.patientOf, tiles.cellOf]) {
    hash.update(new Uint8Array(Int32Array.from(table).buffer));
  }
  const sampled = Math.min(FINGERPRINT_TILES, tiles.count);
  const indices = Int32Array.from({ length: sampled }, (_, i) => Math.floor((i * tiles.count) / sampled));
  hash.update(await tiles.get(indices));
  return hash.digest('hex');
}
