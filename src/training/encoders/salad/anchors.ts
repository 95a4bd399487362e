/**
 * Anchor discovery (docs/explanation/salad-method.md, section 6): selects the memory rows of lowest entropy as anchors
 * and finds their neighbours N_k(i).
 */
import { SaladError } from '../../../errors/index.js';
import type { TrainingMemory } from './memory.js';
import { exactSimilarityBlock, forEachSimilarityRow, type SimilarityBlock } from './similarity.js';

/** Whether `row` may be a neighbour of `query`; false for tiles that are similar for a trivial reason. */
type PairFilter = (query: number, row: number) => boolean;

const allowAll: PairFilter = () => true;

export interface Anchors {
  /** Memory rows, lowest entropy first. */
  readonly anchors: Int32Array;
  /** Neighbours of each anchor by its memory row, most similar first; other rows are absent. */
  readonly neighbours: ReadonlyMap<number, Int32Array>;
}

/** The anchors of round 0. */
export const NO_ANCHORS: Anchors = { anchors: new Int32Array(0), neighbours: new Map() };

interface EntropyOptions {
  readonly temperature: number;
  /** Leaves the row itself out of its softmax (a deviation from the paper, docs/explanation/salad-method.md, section 6). */
  readonly selfMasked: boolean;
  readonly similarityBlock?: SimilarityBlock;
}

/**
 * Entropy H = −Σ p ln p of p = softmax(similarities / T), in nats; 0·ln 0 = 0.
 * @param excluded index of an entry that is left out; −1: none
 */
function entropyOf(similarities: Float32Array | Float64Array, temperature: number, excluded: number): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let row = 0; row < similarities.length; row++) {
    if (row !== excluded && similarities[row]! > largest) largest = similarities[row]!;
  }
  // With u = (s - largest)/T: H = ln Σe^u − Σ u·e^u / Σe^u, in which 0·ln 0 does not occur.
  let partition = 0;
  let weighted = 0;
  for (let row = 0; row < similarities.length; row++) {
    if (row === excluded) continue;
    const u = (similarities[row]! - largest) / temperature;
    const e = Math.exp(u);
    partition += e;
    weighted += u * e;
  }
  if (partition === 0) return 0;
  return Math.max(0, Math.log(partition) - weighted / partition);
}

/** Computes the entropy of every memory row, in nats, in [0, ln rows]. */
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

/** Number R of the last round: trunc(1/rate). */
export function lastRound(rate: number): number {
  return Math.trunc(1 / rate + 1e-9);
}

/** Number of anchors of a round: floor(rows·rate·round + 1e-6), at most `rows`. */
export function anchorCount(rows: number, rate: number, round: number): number {
  return Math.min(rows, Math.floor(rows * rate * round + 1e-6));
}

/** Selects the `count` rows of lowest entropy, lowest first, ties by index. */
export function selectAnchors(entropies: Float64Array, count: number): Int32Array {
  const order = Int32Array.from({ length: entropies.length }, (_, index) => index);
  order.sort((a, b) => entropies[a]! - entropies[b]! || a - b);
  return order.slice(0, count);
}

/**
 * Finds the k rows of largest similarity among those that are allowed, largest first, ties to the lowest index. Returns
 * fewer where fewer are allowed.
 */
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

interface AnchorOptions extends EntropyOptions {
  readonly rate: number;
  readonly round: number;
  /** k, the number of neighbours per anchor; 10 in the paper. */
  readonly neighbours: number;
  /** Pairs that may be neighbours; a row is never its own neighbour. */
  readonly allowed?: PairFilter;
}

/**
 * Finds the anchors of a round and their neighbours, from the memory alone (no network pass). Round 0 has none.
 *
 * @throws SaladError CONFIGURATION_INVALID where k exceeds the number of other rows
 */
export async function discoverAnchors(memory: TrainingMemory, options: AnchorOptions): Promise<Anchors> {
  if (options.neighbours > memory.rows - 1) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `neighbours ${options.neighbours} needs at least ${options.neighbours + 1} training tiles, there are ${memory.rows}`,
    );
  }
  const count = anchorCount(memory.rows, options.rate, options.round);
  if (count === 0) return NO_ANCHORS;
  const anchors = selectAnchors(await memoryEntropies(memory, options), count);
  const isAnchor = new Uint8Array(memory.rows);
  for (const anchor of anchors) isAnchor[anchor] = 1;
  const neighbours = new Map<number, Int32Array>();
  await forEachSimilarityRow(
    memory,
    options.similarityBlock ?? exactSimilarityBlock,
    (query, similarities) => {
      if (isAnchor[query] === 0) return;
      neighbours.set(query, nearestRows(similarities, query, options.neighbours, options.allowed));
    },
  );
  return { anchors, neighbours };
}
