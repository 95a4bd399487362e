/** Candidates for engines whose products can be read where they were written: the best are picked from all of them. */
import { partGrid } from '../../network/onnx/similarity-parts.js';
import type { Scratch } from '../scratch.js';
import { areBelow, type NearestList } from './nearest-list.js';
import { type PartGraph, patchesIn, type Span } from './part-plan.js';
import type { Candidates } from './part-search.js';

/** Rows whose largest product is told apart from the others, where patches are compared with the whole bank. */
export const BLOCK_ROWS = 32;
/** Below this the largest products of blocks are as many to look at as they save. */
const BLOCKS_MIN = 32;

/** Whether the largest product of every BLOCK_ROWS rows is wanted beside the products (`buildProductsOnnx`). */
export function wantsMaxima({ parts, isWhole }: PartGraph): boolean {
  return isWhole && parts[0]!.rows.length >= BLOCKS_MIN * BLOCK_ROWS;
}

/** Shapes of a graph's outputs: products of every part, and the largest of blocks where they are wanted. */
export function productShapes(graph: PartGraph): readonly ((tiles: number) => number[])[] {
  const shapes = graph.parts.map((part) => (tiles: number) => [tiles, ...partGrid(part), part.rows.length]);
  const [whole] = shapes;
  if (whole !== undefined && wantsMaxima(graph)) {
    const blocks = Math.floor(graph.parts[0]!.rows.length / BLOCK_ROWS);
    shapes.push((tiles) => [...whole(tiles).slice(0, 3), blocks]);
  }
  return shapes;
}

/** Where outputs go, the same for every graph: what is written and read again and again stays in the cache. */
export function productBuffers(scratch: Scratch, shapes: readonly (readonly number[])[]) {
  return shapes.map((shape, index) =>
    scratch.of(
      `products/${index}`,
      'float32',
      shape.reduce((product, size) => product * size, 1),
    ),
  );
}

export class RankedProducts implements Candidates {
  /** @param outputs as `productShapes` has them */
  constructor(
    private readonly graph: PartGraph,
    private readonly outputs: readonly Float32Array[],
  ) {}

  offer(nearest: NearestList, tile: number, { part: index, place, start, end }: Span): void {
    const part = this.graph.parts[index]!;
    const row = tile * patchesIn(part) + place;
    const products = this.outputs[index]!;
    const maxima = this.outputs[this.graph.parts.length];
    if (maxima === undefined) {
      nearest.offerAll(products, row * part.rows.length, part.rows, start, end);
    } else {
      offerBlocks(nearest, products, maxima, row, part.rows);
    }
  }
}

/** Block b holds rows b, b + blocks, b + 2 blocks ...: what a largest value says of 32 rows needs one look. */
function offerBlocks(
  nearest: NearestList,
  products: Float32Array,
  maxima: Float32Array,
  patch: number,
  rows: Int32Array,
): void {
  const offset = patch * rows.length;
  const blocks = Math.floor(rows.length / BLOCK_ROWS);
  for (let block = 0; block < blocks; ) {
    const at = patch * blocks;
    if (block + 8 <= blocks && areBelow(maxima, at + block, nearest.worst)) {
      block += 8;
      continue;
    }
    const stop = Math.min(blocks, block + 8);
    for (; block < stop; block++) {
      if (maxima[at + block]! < nearest.worst) continue;
      for (let row = block; row < blocks * BLOCK_ROWS; row += blocks) {
        const similarity = products[offset + row]!;
        if (similarity >= nearest.worst) nearest.offer(similarity, rows[row]!);
      }
    }
  }
  nearest.offerAll(products, offset, rows, blocks * BLOCK_ROWS, rows.length);
}
