/** Cuts tiles with their halos out of a working image. Runs for each scored tile, so it copies 32-bit words if possible. */
import type { Geometry } from '../../geometry/geometry.js';
import { type TileIndex, tileColumnOf, tileRowOf } from '../../geometry/tile-index.js';

export class TileCutter {
  /** Working coordinate of every padded coordinate, by reflection: entry i is for coordinate i - haloSize. */
  readonly #reflection: Int32Array;
  /** The pixels in words of four; null where rows or tiles do not start at a word. */
  readonly #words: Int32Array | null;

  /** @param pixels uint8 [workingSize, workingSize] */
  constructor(
    private readonly geometry: Geometry,
    private readonly pixels: Uint8Array,
  ) {
    const { coreSize, haloSize, workingSize } = geometry;
    this.#reflection = reflectionTable(workingSize, haloSize);
    const aligned = (pixels.byteOffset | coreSize | haloSize | workingSize) % 4 === 0;
    this.#words = aligned ? new Int32Array(pixels.buffer, pixels.byteOffset, pixels.length / 4) : null;
  }

  /**
   * Copies a tile with its halo. Beyond the image the pixels are mirrored at the border pixel's centre (`reflect` of numpy
   * and PyTorch: the border pixel is not repeated).
   * @param target uint8, the first tileHeight * tileWidth values are written
   */
  cut(tile: TileIndex, target: Uint8Array): void {
    const { coreSize, coreColumns, haloSize, tileHeight, tileWidth, workingSize } = this.geometry;
    const pixels = this.pixels;
    const reflection = this.#reflection;
    const top = tileRowOf(this.geometry, tile) * coreSize;
    const left = tileColumnOf(this.geometry, tile) * coreColumns;
    // Columns [inside, outside) of the tile lie in the image and are copied as one run; the others are mirrored.
    const inside = Math.min(tileWidth, Math.max(0, haloSize - left));
    const outside = Math.max(inside, Math.min(tileWidth, workingSize + haloSize - left));
    const words = target.byteOffset % 4 === 0 ? this.#words : null;
    const targetWords = words && new Int32Array(target.buffer, target.byteOffset, target.length >> 2);
    for (let y = 0, at = 0; y < tileHeight; y++, at += tileWidth) {
      const from = reflection[top + y]! * workingSize;
      const start = from + left - haloSize + inside;
      if (words && targetWords)
        copyWords(words, start >> 2, targetWords, (at + inside) >> 2, (outside - inside) >> 2);
      else target.set(pixels.subarray(start, start + outside - inside), at + inside);
      for (let x = 0; x < inside; x++) target[at + x] = pixels[from + reflection[left + x]!]!;
      for (let x = outside; x < tileWidth; x++) target[at + x] = pixels[from + reflection[left + x]!]!;
    }
  }
}

/** For short runs a loop takes half the time of `set`, which needs a view. */
function copyWords(source: Int32Array, from: number, target: Int32Array, at: number, count: number): void {
  for (let i = 0; i < count; i++) target[at + i] = source[from + i]!;
}

function reflectionTable(size: number, halo: number): Int32Array {
  const table = new Int32Array(size + 2 * halo);
  for (let i = 0; i < table.length; i++) {
    const at = Math.abs(i - halo);
    table[i] = at < size ? at : 2 * (size - 1) - at;
  }
  return table;
}
