/** The workload of the load generator: phantoms, cut so that every tile shows the anatomy of its position. */
import type { Workload } from '../../clients/load/src/index.js';
import { makePhantom } from '../../src/phantom/phantom.js';

export interface Grid {
  readonly workingSize: number;
  readonly coreSize: number;
  readonly coreColumns: number;
}

/** Size of one message of tiles: an eighth or a quarter of a small image. */
const MESSAGE_BYTES = 16_384;

/** A phantom after its VOI window, 8 bits, row by row. */
export function phantomPixels(size: number, seed = 1): Uint8Array {
  const { samples, window } = makePhantom({ seed, size });
  const low = window.center - window.width / 2;
  return Uint8Array.from(samples, (sample) =>
    Math.max(0, Math.min(255, Math.round((255 * (sample - low)) / window.width))),
  );
}

/** A workload of tile cores at working resolution, sent as fast as the server accepts them. */
export function tileWorkload(grid: Grid): Workload {
  const { workingSize, coreSize: rows, coreColumns: columns } = grid;
  const image = phantomPixels(workingSize);
  const across = workingSize / columns;
  const tiles = across * (workingSize / rows);
  // The load generator takes tile i from position i * (bytes of a core), modulo the length without one core: the buffer
  // has one spare core at its end.
  const pixels = new Uint8Array((tiles + 1) * rows * columns);
  let at = 0;
  for (let tile = 0; tile < tiles; tile++) {
    const top = Math.floor(tile / across) * rows;
    const left = (tile % across) * columns;
    for (let y = top; y < top + rows; y++, at += columns) {
      pixels.set(image.subarray(y * workingSize + left, y * workingSize + left + columns), at);
    }
  }
  return {
    mode: 'tiles',
    size: workingSize,
    pixels,
    tilesPerMessage: Math.max(1, Math.floor(MESSAGE_BYTES / (rows * columns))),
    rowsPerMessage: 16,
    acquisitionMs: 0,
  };
}
