/** Writes the search of the memory bank as ONNX nodes, after the encoder's nodes. */

import type { ScoringSpec } from '../../geometry/specifications.js';
import { type MemoryBank, searchWindow } from '../../scoring/memory-bank.js';
import { chunksOf } from '../../scoring/search-plan.js';
import type { OnnxWriter } from './writer.js';

/** Similarity of a prototype outside the search window: below every cosine. */
export const OUTSIDE_SIMILARITY = -2;

/** float32 [D, rows] of the bank's rows `from` to `to`. */
export function transposedRows(
  { dimension, prototypes }: Pick<MemoryBank, 'dimension' | 'prototypes'>,
  from: number,
  to: number,
): Float32Array {
  const rows = to - from;
  const out = new Float32Array(dimension * rows);
  for (let row = 0; row < rows; row++) {
    for (let axis = 0; axis < dimension; axis++) {
      out[axis * rows + row] = prototypes[(from + row) * dimension + axis]!;
    }
  }
  return out;
}

/** Columns `from` to `to` of a u8 table with `columns` columns. */
function tableColumns(table: Uint8Array, columns: number, from: number, to: number): Uint8Array {
  const cells = table.length / columns;
  const out = new Uint8Array(cells * (to - from));
  for (let cell = 0; cell < cells; cell++) {
    out.set(table.subarray(cell * columns + from, cell * columns + to), cell * (to - from));
  }
  return out;
}

/** What all chunks of the search have in common. */
interface SearchGraph {
  readonly writer: OnnxWriter;
  readonly bank: MemoryBank;
  readonly cells: number;
  /** u8 [cells, rows]; absent where every prototype is searched. */
  readonly window: Uint8Array | undefined;
}

/** Finds the nearest `k` of a chunk of rows. @returns names of their similarities and of their indices in the chunk */
function addChunk(
  { writer, bank, cells, window }: SearchGraph,
  { from, to, k, name }: { from: number; to: number; k: number; name: string },
): readonly [string, string] {
  const prototypes = writer.floats(
    `bank/prototypes${name}`,
    [bank.dimension, to - from],
    transposedRows(bank, from, to),
  );
  let cosines = writer.node('MatMul', ['embeddings', prototypes], `search/product${name}`);
  if (window !== undefined) {
    const columns = tableColumns(window, bank.rows, from, to);
    const table = writer.booleans(`bank/window${name}`, [cells, to - from], columns);
    const inside = writer.node('Gather', [table, 'cells'], `search/window${name}`, { axis: 0 });
    cosines = writer.node('Where', [inside, cosines, 'search/outside'], `search/candidates${name}`);
  }
  const outputs = [`search/similarities${name}`, `search/indices${name}`] as const;
  const count = writer.int64s(`search/k${name}`, [k]);
  writer.node('TopK', [cosines, count], outputs, { axis: -1, largest: 1, sorted: 1 });
  return outputs;
}

/**
 * Finds the K nearest of every chunk, then the K nearest of those. Chunks are in row order and TopK prefers the lower
 * index, so ties go to the lowest row, as without chunks.
 */
export function addSearch(
  writer: OnnxWriter,
  search: { readonly bank: MemoryBank; readonly scoring: ScoringSpec },
  patchGrid: number,
  chunkRows: number,
): void {
  const { bank, scoring } = search;
  const { searchRadius: radius, neighbourCount } = scoring;
  if (radius !== null) {
    writer.input('cells', 'int64', ['patches']);
    writer.scalar('search/outside', OUTSIDE_SIMILARITY);
  }
  const window = radius === null ? undefined : searchWindow(bank, patchGrid, radius);
  const graph: SearchGraph = { writer, bank, cells: patchGrid * patchGrid, window };
  const nearest = chunksOf(bank.rows, chunkRows).map(({ from, to }, index, { length }) => {
    const name = length === 1 ? '' : `/${index}`;
    const [similarities, indices] = addChunk(graph, {
      from,
      to,
      k: Math.min(neighbourCount, to - from),
      name,
    });
    if (from === 0) return { similarities, indices };
    const first = writer.int64s(`search/first${name}`, [from]);
    return { similarities, indices: writer.node('Add', [indices, first], `search/rows${name}`) };
  });
  let similarities = nearest[0]!.similarities;
  let indices = nearest[0]!.indices;
  if (nearest.length > 1) {
    const join = (names: string[], output: string) => writer.node('Concat', names, output, { axis: -1 });
    const all = join(
      nearest.map((chunk) => chunk.similarities),
      'search/all/similarities',
    );
    const rows = join(
      nearest.map((chunk) => chunk.indices),
      'search/all/rows',
    );
    const best = ['search/similarities', 'search/places'] as const;
    const k = writer.int64s('search/k', [neighbourCount]);
    writer.node('TopK', [all, k], best, { axis: -1, largest: 1, sorted: 1 });
    similarities = best[0];
    indices = writer.node('GatherElements', [rows, best[1]], 'search/indices', { axis: -1 });
  }
  // float32 products of unit vectors can exceed 1.
  const bounds = [writer.scalar('search/low', OUTSIDE_SIMILARITY), writer.scalar('search/high', 1)];
  writer.node('Clip', [similarities, ...bounds], 'similarities');
  writer.node('Identity', [indices], 'indices');
  writer.output('similarities', 'float', ['patches', neighbourCount]);
  writer.output('indices', 'int64', ['patches', neighbourCount]);
}
