/** The two grids of a model: tiles (transport, batching) and patches (scoring). All lengths are working pixels. */
import { SaladError } from '../errors/index.js';
import { cellAt, columnOf, rowOf } from './cells.js';
import type { InputSpec, TilingSpec } from './specifications.js';

export interface Geometry {
  readonly workingSize: number;
  /** Side of a core: rows of a tile without its halo. Background is decided for a whole core. */
  readonly coreSize: number;
  /** Columns of a tile without its halo: one core or several side by side. */
  readonly coreColumns: number;
  readonly haloSize: number;
  /** coreSize + 2 * haloSize: rows of the encoder's input. */
  readonly tileHeight: number;
  /** coreColumns + 2 * haloSize: columns of the encoder's input. */
  readonly tileWidth: number;
  /** tileHeight * tileWidth: bytes of a tile. */
  readonly tilePixels: number;
  /** Tiles down the working image, and across it. */
  readonly tileRows: number;
  readonly tileColumns: number;
  readonly tileCount: number;
  /** Patches per side of one core. */
  readonly patchesPerSide: number;
  readonly patchesPerTile: number;
  /** Patches per side of the image. */
  readonly patchGrid: number;
  readonly patchStride: number;
  readonly patchSize: number;
  readonly patchOffset: number;
}

/** @throws SaladError BUNDLE_INVALID where the grids are inconsistent. */
export function geometryOf(input: InputSpec, tiling: TilingSpec): Geometry {
  const { workingSize } = input;
  const { coreSize, haloSize, patchesPerSide, coresPerTile = 1 } = tiling;
  const coreColumns = coresPerTile * coreSize;
  const tileRows = workingSize / coreSize;
  const tileColumns = workingSize / coreColumns;
  if (!Number.isInteger(tileRows)) throw notMultiple(`workingSize ${workingSize}`, `coreSize ${coreSize}`);
  if (!Number.isInteger(tileColumns)) {
    throw notMultiple(`workingSize ${workingSize}`, `coresPerTile * coreSize = ${coreColumns}`);
  }
  if (tileRows > 1 && coreSize !== patchesPerSide * tiling.patchStride) {
    throw new SaladError(
      'BUNDLE_INVALID',
      'with several cores, coreSize must be patchesPerSide * patchStride',
    );
  }
  if (haloSize >= workingSize) {
    throw new SaladError(
      'BUNDLE_INVALID',
      'haloSize must be below workingSize: the border is padded by reflection',
    );
  }
  const tileHeight = coreSize + 2 * haloSize;
  const tileWidth = coreColumns + 2 * haloSize;
  return {
    workingSize,
    coreSize,
    coreColumns,
    haloSize,
    tileHeight,
    tileWidth,
    tilePixels: tileHeight * tileWidth,
    tileRows,
    tileColumns,
    tileCount: tileRows * tileColumns,
    patchesPerSide,
    patchesPerTile: patchesPerSide * patchesPerSide * coresPerTile,
    patchGrid: tileRows * patchesPerSide,
    patchStride: tiling.patchStride,
    patchSize: tiling.patchSize,
    patchOffset: tiling.patchOffset,
  };
}

function notMultiple(value: string, divisor: string): SaladError {
  return new SaladError('BUNDLE_INVALID', `${value} is not a multiple of ${divisor}`);
}

/**
 * Whether the worker that scores an image can align it: the whole working image is one tile without halo, and no core
 * is skipped as background.
 */
export function alignsInTile(
  { input, tiling }: { readonly input: InputSpec; readonly tiling: TilingSpec },
  { tileCount, haloSize }: Geometry,
): boolean {
  return input.alignment !== undefined && tileCount === 1 && haloSize === 0 && tiling.minStd === 0;
}

/** First working pixel of patch `index` along one axis (may be negative at the border). */
export function patchStart(geometry: Geometry, index: number): number {
  return index * geometry.patchStride + geometry.patchOffset;
}

/** Patch rows and patch columns of a tile. */
export function patchesOf({ patchesPerSide, patchesPerTile }: Geometry): readonly [number, number] {
  return [patchesPerSide, patchesPerTile / patchesPerSide];
}

/**
 * Cell of the patch grid of a tile's patch.
 * @param within index of the patch in the tile, 0 to patchesPerTile - 1, row by row, as engines write patches
 */
export function patchOfTile(
  { patchesPerSide, patchesPerTile, patchGrid }: Geometry,
  tileRow: number,
  tileColumn: number,
  within: number,
): number {
  const columns = patchesPerTile / patchesPerSide;
  const row = tileRow * patchesPerSide + rowOf(within, columns);
  return cellAt(row, tileColumn * columns + columnOf(within, columns), patchGrid);
}
