/** How a client in tile mode cuts. */
import type { AcquisitionAccepted, Geometry, PixelTile, Placement } from '../../../src/gen/salad/v1/types.js';
import type { PixelChunk } from './source.js';

/** Rows and columns of the samples that one tile takes, in pixels of the working image. */
export function coreShape({ coreSize, coreColumns }: Geometry): {
  readonly rows: number;
  readonly columns: number;
} {
  // A server that knows square tiles only leaves the columns out.
  return { rows: coreSize, columns: coreColumns || coreSize };
}

/**
 * Cuts display values into the tiles of an accepted acquisition, for a header with `bitsAllocated: 32`. They score as
 * the rows do that they were made of, where they were resampled as the comment of `Source` in the contract says.
 * @param display float32 [placement.rows, placement.columns] in [0, 255]: the source image after the display transform,
 *   resampled to the placement of `accepted`, row by row
 * @throws RangeError where `display` has another size
 */
export function* displayTiles(
  accepted: AcquisitionAccepted,
  display: Float32Array,
  tilesPerMessage = 8,
): Generator<PixelChunk, void, undefined> {
  const { geometry } = accepted;
  if (geometry === undefined) throw new RangeError('the server accepted without a geometry');
  const placement = placementOf(accepted, geometry);
  if (display.length !== placement.rows * placement.columns) {
    throw new RangeError(
      `${display.length} display values are not ${placement.rows} rows of ${placement.columns}`,
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

/** Where the source lies in the working image: a server that does not say so stretches it over the whole. */
export function placementOf({ placement }: AcquisitionAccepted, geometry: Geometry): Placement {
  return placement ?? { top: 0, left: 0, rows: geometry.workingRows, columns: geometry.workingColumns };
}

/** Little-endian float32 samples of one core; black around the placed image. */
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
