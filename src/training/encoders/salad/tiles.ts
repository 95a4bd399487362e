/** The training tiles, their memory rows, and the rules for pairs of them. */
import { createHash } from 'node:crypto';
import { SaladError } from '../../../errors/index.js';
import { shuffledIndices } from '../../../util/random.js';
import type { SaladConfig } from './config.js';
import { RANDOM_PURPOSE, randomStream } from './random-streams.js';

/** Gives access to all training tiles; one per image at image level. */
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
  /** Tiles of one image share pixels where they are less than this many cells apart in both axes: ceil(size / stride). */
  readonly overlapCells: number;
  /** uint8 [indices.length, size, size], in the order of `indices`. */
  readTiles(indices: Int32Array): Uint8Array | Promise<Uint8Array>;
}

/** The rows of the training memory: one for every tile that is trained on. */
export interface MemoryRows {
  readonly count: number;
  /** Per row: tile index, ascending. */
  readonly tileOf: Int32Array;
  /** Rows of the same image whose tiles share pixels with the tile of `row`; empty at image level. */
  overlapping(row: number): readonly number[];
  /** Whether `row` may be a neighbour of `query`: at tile level, only rows of other patients may. */
  mayBeNeighbours(query: number, row: number): boolean;
}

/** Checks a tile source. @throws SaladError TRAINING_DATA_INVALID where the tables and the counts disagree */
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

/** Groups 0..count-1 by a key. */
function groupIndices(count: number, keyOf: (index: number) => number): Map<number, number[]> {
  const groups = new Map<number, number[]>();
  for (let index = 0; index < count; index++) {
    const key = keyOf(index);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [index]);
    else group.push(index);
  }
  return groups;
}

/** The tiles that get a row: all, or a fixed random subset of each image. */
function chooseRowTiles(tiles: TileSource, tilesPerImage: number | null, seed: number): Int32Array {
  if (tilesPerImage === null) return Int32Array.from({ length: tiles.count }, (_, tile) => tile);
  const chosen: number[] = [];
  for (const [image, members] of groupIndices(tiles.count, (tile) => tiles.imageOf[tile]!)) {
    const random = randomStream(seed, RANDOM_PURPOSE.subset, image);
    const order = shuffledIndices(members.length, random.uniform);
    for (const position of order.subarray(0, tilesPerImage)) chosen.push(members[position]!);
  }
  return Int32Array.from(chosen).sort();
}

/** Assigns memory rows to all tiles, or to a fixed random subset of each image. */
export function assignMemoryRows(tiles: TileSource, config: SaladConfig, seed: number): MemoryRows {
  const tileOf = chooseRowTiles(tiles, config.tilesPerImage, seed);
  const isTileLevel = config.level === 'tile';
  const rowsOfImage = groupIndices(tileOf.length, (row) => tiles.imageOf[tileOf[row]!]!);
  const doOverlap = (a: number, b: number): boolean => {
    const [first, second] = [tiles.cellOf[tileOf[a]!]!, tiles.cellOf[tileOf[b]!]!];
    const rows = Math.abs(Math.floor(first / tiles.gridSide) - Math.floor(second / tiles.gridSide));
    const columns = Math.abs((first % tiles.gridSide) - (second % tiles.gridSide));
    return rows < tiles.overlapCells && columns < tiles.overlapCells;
  };
  return {
    count: tileOf.length,
    tileOf,
    overlapping(row) {
      if (!isTileLevel) return [];
      const rowsOfSameImage = rowsOfImage.get(tiles.imageOf[tileOf[row]!]!)!;
      return rowsOfSameImage.filter((other) => other !== row && doOverlap(row, other));
    },
    mayBeNeighbours: (query, row) =>
      !isTileLevel || tiles.patientOf[tileOf[query]!] !== tiles.patientOf[tileOf[row]!],
  };
}

/** Tiles whose pixels are part of the fingerprint: enough to detect other data, and fast for any number of tiles. */
const FINGERPRINT_TILES = 256;

/** SHA-256 over the tables and the pixels of evenly spaced tiles; a resumed run must have the same. */
export async function fingerprintTiles(tiles: TileSource): Promise<string> {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([tiles.count, tiles.size, tiles.gridSide, tiles.overlapCells]));
  for (const table of [tiles.imageOf, tiles.patientOf, tiles.cellOf]) {
    hash.update(new Uint8Array(Int32Array.from(table).buffer));
  }
  const sampled = Math.min(FINGERPRINT_TILES, tiles.count);
  const indices = Int32Array.from({ length: sampled }, (_, i) => Math.floor((i * tiles.count) / sampled));
  hash.update(await tiles.readTiles(indices));
  return hash.digest('hex');
}
