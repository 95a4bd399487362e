/**
 * Builds ONNX graphs that compare embeddings with parts of the memory bank, beside an encoder whose graph has no
 * search. A graph gives all products, which the caller ranks, or the K best of every part.
 */
import type { MemoryBank } from '../../scoring/memory-bank.js';
import { OUTSIDE_SIMILARITY, transposedRows } from './search-nodes.js';
import { OnnxWriter } from './writer.js';

/** A part of the bank and the patches that are multiplied with it: a rectangle of the tile's own grid of patches. */
export interface OnnxPart {
  readonly top: number;
  /** Exclusive, as `right`. */
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
  /** Rows of the bank, in the order of the products' columns. */
  readonly rows: Int32Array;
}

type Rows = Pick<MemoryBank, 'dimension' | 'prototypes'>;
/** Patches of a tile: down and across. */
type Grid = readonly [number, number];

/**
 * Gives all products. Input: `embeddings` float [tiles, down, across, D]. Outputs: for every part `products/i` float
 * [tiles, bottom - top, right - left, rows].
 * @param blockRows only with one part of all patches: gives also `maxima` float [tiles, down, across, blocks], the
 *   largest product of each block. There are B = floor(rows / blockRows) blocks of `blockRows` rows; block b holds the
 *   rows b, b + B, b + 2 B ...; the rows left over are in no block.
 */
export function buildProductsOnnx(
  bank: Rows,
  grid: Grid,
  parts: readonly OnnxPart[],
  blockRows?: number,
): Uint8Array {
  const writer = openGraph(bank, grid);
  for (const [index, part] of parts.entries()) {
    const products = addProducts(writer, bank, grid, part, index);
    writer.output(products, 'float', ['tiles', ...partGrid(part), part.rows.length]);
  }
  if (blockRows !== undefined) addMaxima(writer, grid, parts[0]!.rows.length, blockRows);
  return writer.encode('search', 'products with the memory bank, built by salad-serve');
}

/** A part of which each patch reaches only some rows. */
export interface OnnxWindowPart extends OnnxPart {
  /** u8 [right - left, rows]: 1 where a patch of that column reaches the row. */
  readonly reach: Uint8Array;
}

/**
 * Gives the K best of every part, or all rows of a smaller part. Input as above. Outputs: for every part
 * `similarities/i` float and `columns/i` int64 [tiles, bottom - top, right - left, K], best first, ties to the lower
 * column. A column is an index into the part's rows. Rows outside a patch's reach have similarities below
 * OUTSIDE_SIMILARITY.
 */
export function buildBestOnnx(
  bank: Rows,
  grid: Grid,
  parts: readonly OnnxWindowPart[],
  neighbourCount: number,
): Uint8Array {
  const writer = openGraph(bank, grid);
  for (const [index, part] of parts.entries()) {
    const [down, across] = partGrid(part);
    const count = Math.min(neighbourCount, part.rows.length);
    // Lower than OUTSIDE_SIMILARITY with every cosine, whose float32 value can slightly exceed 1.
    const penalties = Float32Array.from(part.reach, (reached) =>
      reached === 1 ? 0 : OUTSIDE_SIMILARITY - 2,
    );
    const penalty = writer.floats(`reach/${index}`, [across, part.rows.length], penalties);
    const products = addProducts(writer, bank, grid, part, index);
    const candidates = writer.node('Add', [products, penalty], `candidates/${index}`);
    const outputs = [`similarities/${index}`, `columns/${index}`] as const;
    const k = writer.int64s(`k/${index}`, [count]);
    writer.node('TopK', [candidates, k], outputs, { axis: -1, largest: 1, sorted: 1 });
    writer.output(outputs[0], 'float', ['tiles', down, across, count]);
    writer.output(outputs[1], 'int64', ['tiles', down, across, count]);
  }
  return writer.encode('search', 'nearest rows of parts of the memory bank, built by salad-serve');
}

function openGraph({ dimension }: Rows, grid: Grid): OnnxWriter {
  const writer = new OnnxWriter();
  writer.input('embeddings', 'float', ['tiles', ...grid, dimension]);
  return writer;
}

/** Patches of a part: down and across. */
export function partGrid({ top, bottom, left, right }: OnnxPart): Grid {
  return [bottom - top, right - left];
}

function addProducts(
  writer: OnnxWriter,
  { dimension, prototypes }: Rows,
  grid: Grid,
  part: OnnxPart,
  index: number,
): string {
  const { top, bottom, left, right, rows } = part;
  const selected = new Float32Array(rows.length * dimension);
  rows.forEach((row, at) => {
    selected.set(prototypes.subarray(row * dimension, (row + 1) * dimension), at * dimension);
  });
  const transposed = transposedRows({ dimension, prototypes: selected }, 0, rows.length);
  const bank = writer.floats(`bank/${index}`, [dimension, rows.length], transposed);
  const [down, across] = partGrid(part);
  const edges = { axes: [1, 2], from: [top, left], to: [bottom, right] };
  const queries =
    down === grid[0] && across === grid[1]
      ? 'embeddings'
      : addSlice(writer, `queries/${index}`, 'embeddings', edges);
  return writer.node('MatMul', [queries, bank], `products/${index}`);
}

/** Keeps the entries [from, to) of some axes. */
function addSlice(
  writer: OnnxWriter,
  name: string,
  input: string,
  { from, to, axes }: Readonly<Record<'from' | 'to' | 'axes', number[]>>,
): string {
  const integers = Object.entries({ from, to, axes }).map(([role, values]) =>
    writer.int64s(`${name}/${role}`, values),
  );
  return writer.node('Slice', [input, ...integers], name);
}

/** The maximum along the slow axis of [blockRows, blocks], so that the runtime compares whole vectors. */
function addMaxima(writer: OnnxWriter, grid: Grid, rows: number, blockRows: number): void {
  const blocks = Math.floor(rows / blockRows);
  const whole = blocks * blockRows;
  const products =
    whole === rows
      ? 'products/0'
      : addSlice(writer, 'products/whole', 'products/0', { axes: [3], from: [0], to: [whole] });
  const shape = writer.int64s('maxima/shape', [0, ...grid, blockRows, blocks]);
  const folded = writer.node('Reshape', [products, shape], 'products/blocks');
  writer.node('ReduceMax', [folded, writer.int64s('maxima/axes', [3])], 'maxima', { keepdims: 0 });
  writer.output('maxima', 'float', ['tiles', ...grid, blocks]);
}
