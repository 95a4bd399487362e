/** What the load client sends: phantoms, cut so that every tile shows the anatomy that belongs there. */
import type { Workload } from '../../clients/load/src/index.js';
import { makePhantom } from '../../src/imaging/phantom.js';

export interface Grid {
  readonly workingSize: number;
  readonly coreSize: number;
}

/** A radiograph windowed to 8 bits, row by row. */
export function phantomPixels(size: number, seed = 1): Uint8Array {
  const { samples, window } = makePhantom({ seed, size });
  const low = window.center - window.width / 2;
  return Uint8Array.from(samples, (sample) =>
    Math.max(0, Math.min(255, Math.round((255 * (sample - low)) / window.width))),
  );
}

/** Tile cores at working resolution, 16 a message, sent as fast as the server takes them. */
export function tileWorkload(grid: Grid): Workload {
  const { workingSize, coreSize } = grid;
  const image = phantomPixels(workingSize);
  const side = workingSize / coreSize;
  // The load client cuts tile i from the i-th core's worth of bytes and never the last: one core is spare.
  const pixels = new Uint8Array((side * side + 1) * coreSize * coreSize);
  let at = 0;
  for (let tile = 0; tile < side * side; tile++) {
    const top = Math.floor(tile / side) * coreSize;
    const left = (tile % side) * coreSize;
    for (let y = top; y < top + coreSize; y++, at += coreSize) {
      pixels.set(image.subarray(y * workingSize + left, y * workingSize + left + coreSize), at);
    }
  }
  return {
    mode: 'tiles',
    size: workingSize,
    pixels,
    tilesPerMessage: 16,
    rowsPerMessage: 16,
    acquisitionMs: 0,
  };
}
