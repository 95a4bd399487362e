/** The search of parts of a bank in onnxruntime, which copies every output: only the best of each part come out. */
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
  patchesIn,
  type SearchSource,
  type Span,
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

  static async open(
    library: OnnxRuntime,
    source: SearchSource,
    { parts: given }: PartGraph,
    { spans }: TilePlan,
    openSession: OpenSession,
  ): Promise<BestOfParts> {
    const { geometry, search } = source;
    const { bank, scoring } = search;
    const all = spans.flat();
    const parts = given.map((part, index) =>
      inRowOrder(
        part,
        all.filter((span) => span.part === index),
      ),
    );
    const onnx = buildBestOnnx(bank, patchesOf(geometry), parts, scoring.neighbourCount);
    return new BestOfParts(library, source, parts, await openSession(onnx));
  }

  async run(tiles: number, embeddings: Float32Array): Promise<Candidates> {
    const { geometry, search } = this.source;
    const shape = [tiles, ...patchesOf(geometry), search.bank.dimension];
    const tensor = new this.library.Tensor('float32', embeddings, shape);
    const results = await this.session.run({ embeddings: tensor });
    const best = this.parts.map((part, index) => ({
      part,
      similarities: results[`similarities/${index}`]!.data as Float32Array,
      columns: results[`columns/${index}`]!.data as BigInt64Array,
    }));
    return { offer: (nearest, tile, span) => offerBest(nearest, best[span.part]!, tile, span) };
  }

  async dispose(): Promise<void> {
    await this.session.release();
  }
}

interface Best {
  readonly part: OnnxPart;
  /** [tiles, patches, K]; ascending rows have ascending columns. */
  readonly similarities: Float32Array;
  readonly columns: BigInt64Array;
}

function offerBest(
  nearest: NearestList,
  { part, similarities, columns }: Best,
  tile: number,
  { place }: Span,
): void {
  const patches = patchesIn(part);
  const count = Math.min(nearest.k, part.rows.length);
  const from = (tile * patches + place) * count;
  for (let at = from; at < from + count; at++) {
    const similarity = similarities[at]!;
    // Sorted: what follows is no nearer, and perhaps out of reach.
    if (similarity < nearest.worst || similarity < OUTSIDE_SIMILARITY) return;
    nearest.offer(similarity, part.rows[Number(columns[at]!)]!);
  }
}

/** TopK prefers the lower place, so rows have to ascend. */
function inRowOrder(part: OnnxPart, spans: readonly Span[]): OnnxWindowPart {
  const columns = [...part.rows.keys()].sort((a, b) => part.rows[a]! - part.rows[b]!);
  const [, width] = partGrid(part);
  const reach = new Uint8Array(width * columns.length);
  // What is reached goes by the patch's column: the first row of patches tells all.
  for (const { place, start, end } of spans.filter((span) => span.place < width)) {
    columns.forEach((column, at) => {
      if (column >= start && column < end) reach[place * columns.length + at] = 1;
    });
  }
  return { ...part, rows: Int32Array.from(columns, (column) => part.rows[column]!), reach };
}
