/** Cuts an image into tiles, for the input mode tiles. */
import type { AcquisitionAccepted, Geometry, PixelTile, Placement } from '../../../src/gen/salad/v1/types.js';
import type { PixelChunk } from './source.js';

/** Rows and columns of the samples of one tile (its core), in pixels of the working image. */
export function coreShape({ coreSize, coreColumns }: Geometry): {
  readonly rows: number;
  readonly columns: number;
} {
  // Old servers only support square tiles and do not send `coreColumns`.
  return { rows: coreSize, columns: coreColumns || coreSize };
}

/**
 * Cuts display values into the tiles of an accepted acquisition, for a header with `bitsAllocated: 32`. The tiles get
 * the same scores as the source rows, if the values were resampled as the comment of `Source` in the proto describes.
 * @param display float32 [placement.rows, placement.columns] in [0, 255], row-major: the source image after the display
 *   transform, resampled to the placement of `accepted`
 * @throws RangeError if `display` has another size, or `accepted` has no geometry
 */
export function* displayTiles(
  accepted: AcquisitionAccepted,
  display: Float32Array,
  tilesPerMessage = 8,
): Generator<PixelChunk, void, undefined> {
  const { geometry } = accepted;
  if (geometry === undefined) throw new RangeError('`accepted` has no geometry');
  const placement = placementOf(accepted, geometry);
  if (display.length !== placement.rows * placement.columns) {
    throw new RangeError(
      `display has ${display.length} values; expected ${placement.rows} rows x ${placement.columns} columns`,
    );
  }
  let tiles: PixelTile[] = [];
  for (let row = 0; row < geometry.tileRows; row++) {
    for (let column = 0; column < geometry.tileColumns; column++) {
      tiles.push({ row, column, samples: coreOf(geometry, placement, display, row, column) });
      if (tiles.length < tilesPerMessage) continue;
      yield { type: 'tiles', tiles };
      tiles = [];
    }
  }
  if (tiles.length > 0) yield { type: 'tiles', tiles };
}

/** The placement of the source in the working image; old servers send none and fill the whole working image. */
export function placementOf({ placement }: AcquisitionAccepted, geometry: Geometry): Placement {
  return placement ?? { top: 0, left: 0, rows: geometry.workingRows, columns: geometry.workingColumns };
}

/** Returns float32 samples of one core, little-endian; pixels outside the placement are black. */
function coreOf(
  geometry: Geometry,
  placement: Placement,
  display: Float32Array,
  tileRow: number,
  tileColumn: number,
): Uint8Array {
  const core = coreShape(geometry);
  const samples = new DataView(new ArrayBuffer(4 * core.rows * core.columns));
  for (let y = 0; y < core.rows; y++) {
    const row = tileRow * core.rows + y - placement.top;
    if (row < 0 || row >= placement.rows) continue;
    for (let x = 0; x < core.columns; x++) {
      const column = tileColumn * core.columns + x - placement.left;
      if (column < 0 || column >= placement.columns) continue;
      samples.setFloat32(4 * (y * core.columns + x), display[row * placement.columns + column]!, true);
    }
  }
  return new Uint8Array(samples.buffer);
}
