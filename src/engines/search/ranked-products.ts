/** Chooses the nearest rows from all products of an engine that writes them into memory of this program. */
import { partGrid } from '../../network/onnx/similarity-parts.js';
import type { Scratch } from '../scratch.js';
import { areAllBelow, type NearestList } from './nearest-list.js';
import { type PartGraph, type PartRange, patchesIn } from './part-plan.js';
import type { Candidates } from './part-search.js';

/** Rows of one block. The graph also gives the largest product of each block, so that most blocks can be skipped. */
export const BLOCK_ROWS = 32;
/** With fewer blocks, reading their largest products costs as much as it saves. */
const BLOCKS_MIN = 32;

/** Whether the graph also gives the largest product of each block of BLOCK_ROWS rows (`buildProductsOnnx`). */
export function needsMaxima({ parts, isWhole }: PartGraph): boolean {
  return isWhole && parts[0]!.rows.length >= BLOCKS_MIN * BLOCK_ROWS;
}

/** Shapes of a graph's outputs: the products of every part, then the maxima of blocks where the graph gives them. */
export function productShapes(graph: PartGraph): readonly ((tiles: number) => number[])[] {
  const shapes = graph.parts.map((part) => (tiles: number) => [tiles, ...partGrid(part), part.rows.length]);
  const [whole] = shapes;
  if (whole !== undefined && needsMaxima(graph)) {
    const blocks = Math.floor(graph.parts[0]!.rows.length / BLOCK_ROWS);
    shapes.push((tiles) => [...whole(tiles).slice(0, 3), blocks]);
  }
  return shapes;
}

/** Memory of a graph's outputs. All graphs share it: memory that is reused often stays in the processor's cache. */
export function productBuffers(scratch: Scratch, shapes: readonly (readonly number[])[]) {
  return shapes.map((shape, index) =>
    scratch.array(
      `products/${index}`,
      'float32',
      shape.reduce((product, size) => product * size, 1),
    ),
  );
}

export class RankedProducts implements Candidates {
  /** @param outputs with the shapes of `productShapes` */
  constructor(
    private readonly graph: PartGraph,
    private readonly outputs: readonly Float32Array[],
  ) {}

  offer(nearest: NearestList, tile: number, { part: index, patch, start, end }: PartRange): void {
    const part = this.graph.parts[index]!;
    const patchOfRun = tile * patchesIn(part) + patch;
    const products = this.outputs[index]!;
    const maxima = this.outputs[this.graph.parts.length];
    if (maxima === undefined) {
      nearest.offerAll(products, patchOfRun * part.rows.length, part.rows, start, end);
    } else {
      offerBlocks(nearest, products, maxima, patchOfRun, part.rows);
    }
  }
}

/** Skips blocks whose largest product is too small. Block b holds the rows b, b + blocks, b + 2 blocks ... */
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
    if (block + 8 <= blocks && areAllBelow(maxima, at + block, nearest.worst)) {
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
  // The rows that are in no block.
  nearest.offerAll(products, offset, rows, blocks * BLOCK_ROWS, rows.length);
}
