/**
 * Searches parts of a bank in onnxruntime. onnxruntime copies every output, so the graph returns only the K best rows
 * of each part.
 */
import type { InferenceSession } from 'onnxruntime-node';
import { patchesOf } from '../../geometry/geometry.js';
import { OUTSIDE_SIMILARITY } from '../../network/onnx/search-nodes.js';
import {
  buildBestOnnx,
  type OnnxPart,
  type OnnxWindowPart,
  partGrid,
} from '../../network/onnx/similarity-parts.js';
import type { NearestList } from '../search/nearest-list.js';
import {
  type PartGraph,
  type PartRange,
  patchesIn,
  type SearchSource,
  type TilePlan,
} from '../search/part-plan.js';
import type { Candidates, PartNetwork } from '../search/part-search.js';
import type { OnnxRuntime, OpenSession } from './runtime.js';

export class BestOfParts implements PartNetwork {
  private constructor(
    private readonly library: OnnxRuntime,
    private readonly source: SearchSource,
    private readonly parts: readonly OnnxPart[],
    private readonly session: InferenceSession,
  ) {}

  /** @param tilePlan of any tile that the graph is for */
  static async open(
    library: OnnxRuntime,
    source: SearchSource,
    graph: PartGraph,
    tilePlan: TilePlan,
    openSession: OpenSession,
  ): Promise<BestOfParts> {
    const { geometry, search } = source;
    const { bank, scoring } = search;
    const ranges = tilePlan.ranges.flat();
    const parts = graph.parts.map((part, index) =>
      withAscendingRows(
        part,
        ranges.filter((range) => range.part === index),
      ),
    );
    const onnx = buildBestOnnx(bank, patchesOf(geometry), parts, scoring.neighbourCount);
    return new BestOfParts(library, source, parts, await openSession(onnx));
  }

  async run(tiles: number, embeddings: Float32Array): Promise<Candidates> {
    const { geometry, search } = this.source;
    const shape = [tiles, ...patchesOf(geometry), search.bank.dimension];
    const tensor = new this.library.Tensor('float32', embeddings, shape);
    const outputs = await this.session.run({ embeddings: tensor });
    const best = this.parts.map((part, index) => ({
      part,
      similarities: outputs[`similarities/${index}`]!.data as Float32Array,
      columns: outputs[`columns/${index}`]!.data as BigInt64Array,
    }));
    return { offer: (nearest, tile, range) => offerBest(nearest, best[range.part]!, tile, range) };
  }

  async dispose(): Promise<void> {
    await this.session.release();
  }
}

interface BestOfPart {
  readonly part: OnnxPart;
  /** [tiles, patches, K], best first. */
  readonly similarities: Float32Array;
  /** [tiles, patches, K]: indices into the part's rows, which ascend. */
  readonly columns: BigInt64Array;
}

function offerBest(
  nearest: NearestList,
  { part, similarities, columns }: BestOfPart,
  tile: number,
  { patch }: PartRange,
): void {
  const count = Math.min(nearest.k, part.rows.length);
  const start = (tile * patchesIn(part) + patch) * count;
  for (let at = start; at < start + count; at++) {
    const similarity = similarities[at]!;
    // Sorted: the entries that follow are no nearer, and perhaps outside the search window.
    if (similarity < nearest.worst || similarity < OUTSIDE_SIMILARITY) return;
    nearest.offer(similarity, part.rows[Number(columns[at]!)]!);
  }
}

/** Sorts the part's rows, because TopK resolves ties to the lower index and ties must go to the lowest row. */
function withAscendingRows(part: OnnxPart, ranges: readonly PartRange[]): OnnxWindowPart {
  const columns = [...part.rows.keys()].sort((a, b) => part.rows[a]! - part.rows[b]!);
  const [, patchColumns] = partGrid(part);
  const reach = new Uint8Array(patchColumns * columns.length);
  // Which rows a patch reaches depends only on the patch's column, so the first row of patches is enough.
  for (const { patch, start, end } of ranges.filter((range) => range.patch < patchColumns)) {
    columns.forEach((column, at) => {
      if (column >= start && column < end) reach[patch * columns.length + at] = 1;
    });
  }
  return { ...part, rows: Int32Array.from(columns, (column) => part.rows[column]!), reach };
}
