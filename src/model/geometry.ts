/** The two grids of a model: tiles (transport, batching) and patches (scoring). All in working pixels. */
import { SaladError } from '../errors/index.js';
import type { InputSpec, TilingSpec } from './manifest.js';

export interface Geometry {
  readonly workingSize: number;
  readonly coreSize: number;
  readonly haloSize: number;
  /** coreSize + 2 * haloSize: side of what the encoder sees. */
  readonly tileSize: number;
  /** Tiles per side of the working image. */
  readonly tilesPerSide: number;
  /** Patches per side of one tile. */
  readonly patchesPerSide: number;
  /** Patches per side of the image. */
  readonly patchGrid: number;
  readonly patchStride: number;
  readonly patchSize: number;
  readonly patchOffset: number;
}

/** @throws SaladError BUNDLE_INVALID where the grids do not fit each other. */
export function geometryOf(input: InputSpec, tiling: TilingSpec): Geometry {
  const tilesPerSide = input.workingSize / tiling.coreSize;
  if (!Number.isInteger(tilesPerSide)) {
    throw new SaladError(
      'BUNDLE_INVALID',
      `workingSize ${input.workingSize} is not a multiple of coreSize ${tiling.coreSize}`,
    );
  }
  if (tilesPerSide > 1 && tiling.coreSize !== tiling.patchesPerSide * tiling.patchStride) {
    throw new SaladError(
      'BUNDLE_INVALID',
      'with several tiles, coreSize must be patchesPerSide * patchStride',
    );
  }
  if (tiling.haloSize >= input.workingSize) {
    throw new SaladError(
      'BUNDLE_INVALID',
      'haloSize must be below workingSize: the border is padded by reflection',
    );
  }
  return {
    workingSize: input.workingSize,
    coreSize: tiling.coreSize,
    haloSize: tiling.haloSize,
    tileSize: tiling.coreSize + 2 * tiling.haloSize,
    tilesPerSide,
    patchesPerSide: tiling.patchesPerSide,
    patchGrid: tilesPerSide * tiling.patchesPerSide,
    patchStride: tiling.patchStride,
    patchSize: tiling.patchSize,
    patchOffset: tiling.patchOffset,
  };
}

/** First working pixel of patch `index` along one axis (may be negative at the border). */
export function patchStart(geometry: Geometry, index: number): number {
  const tile = Math.floor(index / geometry.patchesPerSide);
  const within = index - tile * geometry.patchesPerSide;
  return tile * geometry.coreSize + within * geometry.patchStride + geometry.patchOffset;
}
