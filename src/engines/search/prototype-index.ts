/**
 * An approximate index of a large memory bank (HNSW graph, usearch), with its recall measured against exact
 * search before it serves. Built once, kept as a file, and mapped into memory by every worker thread.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Index } from 'usearch';
import { squaredDistance } from '../../scoring/knn.js';
import { type MemoryBank, normaliseRows } from '../../scoring/memory-bank.js';
import { createRandom } from '../../scoring/random.js';

type Usearch = typeof import('usearch');

/** Least share of the true K nearest that an index must find to serve. */
export const RECALL_MIN = 0.99;
/** Candidates the graph search keeps; the first that reaches RECALL_MIN is taken. */
const EXPANSIONS = [64, 128, 256, 512, 1024] as const;
const CONNECTIVITY = 16;
const EXPANSION_ADD = 64;
/** Half the memory of float32; candidates are ranked by the float32 vectors afterwards. */
const QUANTIZATION = 'bf16';
/** Names the library's file format and our parameters: a file made otherwise is not taken for one of these. */
const FORMAT = `usearch-2.25-${QUANTIZATION}-${CONNECTIVITY}-${EXPANSION_ADD}`;
/** Queries of each kind. */
const SAMPLE = 100;
const SAMPLE_SEED = 20260401;
/** Each axis of a perturbed query is off by about this over the root of the dimension. */
const PERTURBATION = 0.5;

export interface IndexOptions {
  /** Where index files are kept; undefined: `.cache/salad-serve/search` in the home folder. */
  readonly directory: string | undefined;
  readonly neighbourCount: number;
  readonly candidates: number;
}

/** What was found out when the index was built. */
interface IndexRecord {
  readonly bytes: number;
  /** Null where no expansion reached RECALL_MIN. */
  readonly expansion: number | null;
  /** Of that expansion, or the best there was. */
  readonly recall: number;
  readonly buildSeconds: number;
}

export interface PrototypeIndex {
  /** Share of the true K nearest found, lowest over the kinds of queries tried. */
  readonly recall: number;
  readonly expansion: number;
  /** The file it is kept in. */
  readonly path: string;
  /** What building took, whenever that was. */
  readonly buildSeconds: number;
  /**
   * @param queries float32 [count, D] in memory that is not shared.
   * @returns bank rows [count, candidates], best first; -1 where fewer were found.
   */
  search(queries: Float32Array, count: number): Int32Array;
}

/** Why there is no index to serve with; the search is then exact. */
export interface NoIndex {
  readonly reason: string;
  /** Of an index that was built and finds too few. */
  readonly built?: { readonly path: string; readonly buildSeconds: number; readonly expansion: number };
}

/**
 * The library is native and optional: its absence is an answer. As CommonJS, because its ES module looks for the
 * native part by the names in a stack trace, and not every caller has one.
 */
function loadLibrary(name: string): Usearch | NoIndex {
  try {
    return createRequire(import.meta.url)(name) as Usearch;
  } catch (error) {
    return { reason: `${name} does not load: ${(error as Error).message.split('\n')[0]}` };
  }
}

function createIndex(library: Usearch, dimension: number, expansion: number): Index {
  return new library.Index({
    dimensions: dimension,
    metric: library.MetricKind.IP,
    quantization: library.ScalarKind.BF16,
    connectivity: CONNECTIVITY,
    expansion_add: EXPANSION_ADD,
    expansion_search: expansion,
    multi: false,
  });
}

/**
 * Of the user alone, as nobody else may plant a file that a native library reads; where the home folder cannot
 * be written, for this process only.
 */
async function indexDirectory(wanted: string | undefined): Promise<string> {
  const directory = wanted ?? join(homedir(), '.cache', 'salad-serve', 'search');
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await writeFile(join(directory, '.writable'), '');
    return directory;
  } catch {
    return mkdtemp(join(tmpdir(), 'salad-search-'));
  }
}

function keyOf(
  { rows, dimension, prototypes }: MemoryBank,
  { neighbourCount, candidates }: IndexOptions,
): string {
  const bytes = new Uint8Array(prototypes.buffer, prototypes.byteOffset, prototypes.byteLength);
  const parameters = [FORMAT, rows, dimension, neighbourCount, candidates].join('/');
  return createHash('sha256').update(parameters).update(bytes).digest('hex').slice(0, 32);
}

async function readRecord(path: string): Promise<IndexRecord | undefined> {
  try {
    const record = JSON.parse(await readFile(`${path}.json`, 'utf8')) as IndexRecord;
    return (await stat(path)).size === record.bytes ? record : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Opens the index of a bank, building it where there is no file of it yet: on two cores that took 11 s for
 * 100,000 rows of 128 values and five minutes for a million. It uses all cores.
 */
export async function openPrototypeIndex(
  bank: MemoryBank,
  options: IndexOptions,
  packageName = 'usearch',
): Promise<PrototypeIndex | NoIndex> {
  const library = loadLibrary(packageName);
  if ('reason' in library) return library;
  const path = join(await indexDirectory(options.directory), `${keyOf(bank, options)}.usearch`);
  const record = (await readRecord(path)) ?? (await buildIndex(library, bank, options, path));
  const { expansion, recall, buildSeconds } = record;
  if (expansion === null) {
    const reason = `the index finds ${recall.toFixed(3)} of the neighbours, fewer than ${RECALL_MIN}`;
    return { reason, built: { path, buildSeconds, expansion: EXPANSIONS[EXPANSIONS.length - 1]! } };
  }
  const index = createIndex(library, bank.dimension, expansion);
  index.view(path);
  return {
    recall,
    expansion,
    path,
    buildSeconds,
    search: (queries, count) => searchIndex(index, queries, count, options),
  };
}

function searchIndex(
  index: Index,
  queries: Float32Array,
  count: number,
  { candidates }: Pick<IndexOptions, 'candidates'>,
): Int32Array {
  // One thread: every core has a worker already.
  const { keys, distances } = index.search(queries, candidates, 1);
  const found = new Int32Array(count * candidates).fill(-1);
  for (let at = 0; at < keys.length; at++) {
    // Where the library finds fewer it fills up with key 0 at no distance.
    if (!Number.isNaN(distances[at])) found[at] = Number(keys[at]);
  }
  return found;
}

const SINGLE_THREADED_ROWS_MAX = 10_000;

/** The record is written last and by renaming: a reader sees a whole index or none. */
async function buildIndex(
  library: Usearch,
  bank: MemoryBank,
  options: IndexOptions,
  path: string,
): Promise<IndexRecord> {
  const { rows, dimension, prototypes } = bank;
  const started = performance.now();
  const index = createIndex(library, dimension, EXPANSIONS[0]);
  index.add(
    BigUint64Array.from({ length: rows }, (_, row) => BigInt(row)),
    prototypes,
    // Several threads race, and which rows become hard to reach differs from build to build: a bank that one thread
    // takes in a second or so is built the same way every time.
    rows <= SINGLE_THREADED_ROWS_MAX ? 1 : 0,
  );
  const temporary = `${path}.${randomUUID()}`;
  index.save(temporary);
  const buildSeconds = (performance.now() - started) / 1000;
  const measured = measureRecall(library, bank, options, temporary);
  const record: IndexRecord = { bytes: (await stat(temporary)).size, buildSeconds, ...measured };
  await rename(temporary, path);
  await writeFile(`${temporary}.json`, JSON.stringify(record));
  await rename(`${temporary}.json`, `${path}.json`);
  return record;
}

/** The first expansion that finds enough for every kind of query. */
function measureRecall(
  library: Usearch,
  bank: MemoryBank,
  options: IndexOptions,
  path: string,
): Pick<IndexRecord, 'expansion' | 'recall'> {
  const { neighbourCount } = options;
  const kinds = sampleQueries(bank).map((queries) => {
    const { keys } = library.exactSearch(
      bank.prototypes,
      queries,
      bank.dimension,
      neighbourCount,
      library.MetricKind.IP,
      0,
    );
    return { queries, truth: Int32Array.from(keys as unknown as Iterable<bigint>, Number) };
  });
  let best = 0;
  for (const expansion of EXPANSIONS) {
    const index = createIndex(library, bank.dimension, expansion);
    index.view(path);
    const recall = Math.min(
      ...kinds.map(({ queries, truth }) => {
        const found = searchIndex(index, queries, SAMPLE, options);
        return recallOf(bank, queries, found, truth, options);
      }),
    );
    if (recall >= RECALL_MIN) return { expansion, recall };
    best = Math.max(best, recall);
  }
  return { expansion: null, recall: best };
}

/**
 * What a radiograph's patches look like to the bank: near a prototype (normal), and half-way between two
 * (anomalous, far from all), which is harder for the graph.
 */
function sampleQueries({ rows, dimension, prototypes }: MemoryBank): readonly Float32Array[] {
  const random = createRandom(SAMPLE_SEED);
  const pick = (): number => Math.floor(random() * rows) * dimension;
  const near = new Float32Array(SAMPLE * dimension);
  const between = new Float32Array(SAMPLE * dimension);
  // Uniform noise has a third of its squared half-width as variance.
  const halfWidth = PERTURBATION * Math.sqrt(3 / dimension);
  for (let query = 0; query < SAMPLE; query++) {
    const [row, other] = [pick(), pick()];
    for (let axis = 0; axis < dimension; axis++) {
      const at = query * dimension + axis;
      near[at] = prototypes[row + axis]! + (2 * random() - 1) * halfWidth;
      between[at] = prototypes[row + axis]! + prototypes[other + axis]!;
    }
  }
  return [normaliseRows(near, dimension), normaliseRows(between, dimension)];
}

/** By distance, not by row: of prototypes equally far any will do. */
export function recallOf(
  bank: MemoryBank,
  queries: Float32Array,
  found: Int32Array,
  truth: Int32Array,
  { neighbourCount, candidates }: Pick<IndexOptions, 'neighbourCount' | 'candidates'>,
): number {
  const { dimension, prototypes } = bank;
  const count = queries.length / dimension;
  let hits = 0;
  for (let query = 0; query < count; query++) {
    const distance = (row: number): number =>
      squaredDistance(queries, query * dimension, prototypes, row * dimension, dimension);
    const own = truth.subarray(query * neighbourCount, (query + 1) * neighbourCount);
    const farthest = Math.max(...Array.from(own, distance));
    const close = Array.from(found.subarray(query * candidates, (query + 1) * candidates)).filter(
      (row) => row >= 0 && distance(row) <= farthest + 1e-6,
    );
    hits += Math.min(neighbourCount, close.length);
  }
  return hits / (count * neighbourCount);
}
