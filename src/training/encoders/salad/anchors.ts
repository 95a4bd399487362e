/** Anchor discovery (docs/explanation/salad-method.md, section 6): rank the memory rows by entropy, give the anchors their neighbours. */
import { SaladError } from '../../../errors/index.js';
import type { TrainingMemory } from './memory.js';
import { exactSimilarityBlock, forEachSimilarityRow, type SimilarityBlock } from './similarity.js';

/** May `row` stand beside `query`? False for tiles that would be trivially alike. */
export type PairFilter = (query: number, row: number) => boolean;

const allowAll: PairFilter = () => true;

export interface Anchors {
  /** Memory rows, lowest entropy first. */
  readonly anchors: Int32Array;
  /** Per memory row: its neighbours, most similar first; absent for rows that are no anchors. */
  readonly neighbours: ReadonlyMap<number, Int32Array>;
  /** Mean entropy of all rows in nats, for the history. */
  readonly meanEntropy: number;
}

export interface EntropyOptions {
  readonly temperature: number;
  /** Leave the row itself out of its softmax (a deviation from the paper, docs/explanation/salad-method.md, section 6). */
  readonly selfMasked: boolean;
  readonly similarityBlock?: SimilarityBlock;
}

/** H = −Σ p ln p of softmax(similarities / T) in nats; 0·ln 0 = 0. `skip` leaves one entry out (−1: none). */
export function entropyOf(
  similarities: Float32Array | Float64Array,
  temperature: number,
  skip: number,
): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let row = 0; row < similarities.length; row++) {
    if (row !== skip && similarities[row]! > top) top = similarities[row]!;
  }
  // With u = (s - top)/T: H = ln Σe^u − Σ u·e^u / Σe^u, which has no 0·ln 0 to guard.
  let partition = 0;
  let weighted = 0;
  for (let row = 0; row < similarities.length; row++) {
    if (row === skip) continue;
    const u = (similarities[row]! - top) / temperature;
    const e = Math.exp(u);
    partition += e;
    weighted += u * e;
  }
  if (partition === 0) return 0;
  return Math.max(0, Math.log(partition) - weighted / partition);
}

/** Entropy of every memory row, in nats, in [0, ln rows]. */
export async function memoryEntropies(
  memory: TrainingMemory,
  options: EntropyOptions,
): Promise<Float64Array> {
  const entropies = new Float64Array(memory.rows);
  await forEachSimilarityRow(
    memory,
    options.similarityBlock ?? exactSimilarityBlock,
    (query, similarities) => {
      entropies[query] = entropyOf(similarities, options.temperature, options.selfMasked ? query : -1);
    },
  );
  return entropies;
}

/** Number of rounds after round 0: R = trunc(1/rate). */
export function lastRound(rate: number): number {
  return Math.trunc(1 / rate + 1e-9);
}

/** floor(rows·rate·round + 1e-6), at most rows. */
export function anchorCount(rows: number, rate: number, round: number): number {
  return Math.min(rows, Math.floor(rows * rate * round + 1e-6));
}

/** The `count` rows of lowest entropy, lowest first, ties by index. */
export function selectAnchors(entropies: Float64Array, count: number): Int32Array {
  const order = Int32Array.from({ length: entropies.length }, (_, index) => index);
  order.sort((a, b) => entropies[a]! - entropies[b]! || a - b);
  return order.slice(0, count);
}

/** Indices of the k largest allowed similarities, largest first, ties to the lowest index; fewer where fewer are allowed. */
export function nearestRows(
  similarities: Float32Array | Float64Array,
  query: number,
  k: number,
  allowed: PairFilter = allowAll,
): Int32Array {
  const rows = new Int32Array(k);
  const values = new Float64Array(k);
  let found = 0;
  for (let row = 0; row < similarities.length; row++) {
    const value = similarities[row]!;
    if (found === k && !(value > values[k - 1]!)) continue;
    if (row === query || !allowed(query, row)) continue;
    let slot = found < k ? found++ : k - 1;
    while (slot > 0 && values[slot - 1]! < value) {
      values[slot] = values[slot - 1]!;
      rows[slot] = rows[slot - 1]!;
      slot--;
    }
    values[slot] = value;
    rows[slot] = row;
  }
  return rows.slice(0, found);
}

export interface AnchorOptions extends EntropyOptions {
  readonly rate: number;
  readonly round: number;
  /** Neighbours per anchor (k of docs/explanation/salad-method.md; 10 in the paper). */
  readonly neighbours: number;
  /** Pairs that may be neighbours; self is always left out. */
  readonly allowed?: PairFilter;
}

/**
 * Anchors and neighbour lists of one round, from the memory alone (no network pass). Round 0 has none.
 *
 * @throws SaladError CONFIGURATION_INVALID where k exceeds the number of other rows.
 */
export async function discoverAnchors(memory: TrainingMemory, options: AnchorOptions): Promise<Anchors> {
  if (options.neighbours > memory.rows - 1) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `neighbours ${options.neighbours} needs at least ${options.neighbours + 1} training tiles, there are ${memory.rows}`,
    );
  }
  const count = anchorCount(memory.rows, options.rate, options.round);
  const entropies = count === 0 ? new Float64Array(0) : await memoryEntropies(memory, options);
  const anchors = count === 0 ? new Int32Array(0) : selectAnchors(entropies, count);
  const neighbours = new Map<number, Int32Array>();
  if (count > 0) {
    const isAnchor = new Uint8Array(memory.rows);
    for (const anchor of anchors) isAnchor[anchor] = 1;
    await forEachSimilarityRow(
      memory,
      options.similarityBlock ?? exactSimilarityBlock,
      (query, similarities) => {
        if (isAnchor[query] === 0) return;
        neighbours.set(query, nearestRows(similarities, query, options.neighbours, options.allowed));
      },
    );
  }
  const meanEntropy =
    entropies.length === 0 ? Number.NaN : entropies.reduce((a, b) => a + b, 0) / entropies.length;
  return { anchors, neighbours, meanEntropy };
}
