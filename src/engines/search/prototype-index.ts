/**
 * An approximate index of a large memory bank (HNSW graphs, usearch). Its recall is measured against exact search
 * before it serves. It is built once, stored as files, and mapped into memory by every worker thread.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { squaredDistance } from '../../scoring/knn.js';
import { type MemoryBank, normaliseRows } from '../../scoring/memory-bank.js';
import { createRandom } from '../../util/random.js';
import { buildShards, FORMAT, SHARD_ROWS_MAX, Shards, shardEdges, type Usearch } from './shards.js';

/** Share of the true K nearest that an index must find to serve. */
export const RECALL_MIN = 0.99;
/**
 * Candidates that a graph keeps during a search. The smallest number with enough recall is used; above the largest one,
 * exact search is as fast.
 */
const EXPANSIONS = [64, 128, 256, 512] as const;
/** Queries of each kind. */
const SAMPLE_QUERIES = 100;
const SAMPLE_SEED = 20260401;
/** Length of the noise added to a unit vector, for queries like normal patches (near) and anomalous ones (far). */
const NOISE = { near: 0.5, far: 1 } as const;
/**
 * Required recall of queries half-way between two prototypes. They are farther from the bank than every patch of a
 * radiograph that was measured.
 */
const BETWEEN_RECALL_MIN = 0.9;

export interface IndexOptions {
  /** Folder of the index files; undefined: `.cache/salad-serve/search` in the home folder. */
  readonly directory: string | undefined;
  readonly neighbourCount: number;
  readonly candidates: number;
  /** Largest number of rows in a shard. @default 125,000 */
  readonly shardRows?: number;
}

/** The measurements made when the index was built; stored as JSON beside the shards. */
interface IndexRecord {
  /** Size of each shard's file. */
  readonly bytes: readonly number[];
  /** Null where no expansion reached the required recall. */
  readonly expansion: number | null;
  /** With that expansion; where it is null, the best recall that was measured. */
  readonly recall: number;
  readonly buildSeconds: number;
}

export interface PrototypeIndex {
  /** Share of the true K nearest found: the lower of the recalls for near and far queries. */
  readonly recall: number;
  readonly expansion: number;
  /** The files of the shards. */
  readonly paths: readonly string[];
  /** Time of the build, also where an earlier process built it. */
  readonly buildSeconds: number;
  /**
   * @param queries float32 [count, D] in memory that is not shared.
   * @returns bank rows [count, candidates], best first; -1 where fewer were found.
   */
  search(queries: Float32Array, count: number): Int32Array;
}

/** Why no index can serve; the search is then exact. */
export interface NoIndex {
  readonly reason: string;
  /** Present where an index was built and its recall is too low. */
  readonly built?: Pick<PrototypeIndex, 'paths' | 'buildSeconds' | 'expansion'>;
}

/**
 * The library is native and optional, so that it may be missing. Loaded as CommonJS: its ES module finds the native
 * addon by the file names in a stack trace, which fails for some callers.
 */
function loadLibrary(name: string): Usearch | NoIndex {
  try {
    return createRequire(import.meta.url)(name) as Usearch;
  } catch (error) {
    return { reason: `${name} does not load: ${(error as Error).message.split('\n')[0]}` };
  }
}

/**
 * Creates the folder with access for this user only: a native library reads its files, so no other user may write them.
 * Where the folder cannot be written, it is a temporary one for this process.
 */
async function openIndexDirectory(configured: string | undefined): Promise<string> {
  const directory = configured ?? join(homedir(), '.cache', 'salad-serve', 'search');
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
  { neighbourCount, candidates, shardRows = SHARD_ROWS_MAX }: IndexOptions,
): string {
  const bytes = new Uint8Array(prototypes.buffer, prototypes.byteOffset, prototypes.byteLength);
  const parameters = [FORMAT, rows, dimension, neighbourCount, candidates, shardRows].join('/');
  return createHash('sha256').update(parameters).update(bytes).digest('hex').slice(0, 32);
}

async function readRecord(base: string, paths: readonly string[]): Promise<IndexRecord | undefined> {
  try {
    const record = JSON.parse(await readFile(`${base}.json`, 'utf8')) as IndexRecord;
    const sizes = await sizesOf(paths);
    return sizes.every((size, shard) => size === record.bytes[shard]) ? record : undefined;
  } catch {
    return undefined;
  }
}

async function sizesOf(paths: readonly string[]): Promise<readonly number[]> {
  return (await Promise.all(paths.map((path) => stat(path)))).map(({ size }) => size);
}

/**
 * Opens the index of a bank. Builds it first where its files do not exist, on all cores: with two cores 11 s for
 * 100,000 rows of 128 values, and a minute and a half for a million.
 */
export async function openPrototypeIndex(
  bank: MemoryBank,
  options: IndexOptions,
  packageName = 'usearch',
): Promise<PrototypeIndex | NoIndex> {
  const library = loadLibrary(packageName);
  if ('reason' in library) return library;
  const base = join(await openIndexDirectory(options.directory), keyOf(bank, options));
  const edges = shardEdges(bank.rows, options.shardRows ?? SHARD_ROWS_MAX);
  const paths = Array.from({ length: edges.length - 1 }, (_, shard) => `${base}.${shard}.usearch`);
  const record = (await readRecord(base, paths)) ?? (await buildIndex(library, bank, options, base, paths));
  const { expansion, recall, buildSeconds } = record;
  if (expansion === null) {
    const reason = `the index finds ${recall.toFixed(3)} of the neighbours, fewer than ${RECALL_MIN}`;
    return { reason, built: { paths, buildSeconds, expansion: EXPANSIONS[EXPANSIONS.length - 1]! } };
  }
  const shards = new Shards(library, paths, bank.dimension, expansion);
  return {
    recall,
    expansion,
    paths,
    buildSeconds,
    search: (queries, count) => shards.search(queries, count, options.candidates),
  };
}

/** usearch accepts no views of shared memory: the build, which happens once, works on a copy. */
function unshared(bank: MemoryBank): MemoryBank {
  const isShared = bank.prototypes.buffer instanceof SharedArrayBuffer;
  return isShared ? { ...bank, prototypes: bank.prototypes.slice() } : bank;
}

/** Writes drafts, renames them, and writes the record last: a reader sees a whole index or none. */
async function buildIndex(
  library: Usearch,
  sharedBank: MemoryBank,
  options: IndexOptions,
  base: string,
  paths: readonly string[],
): Promise<IndexRecord> {
  const started = performance.now();
  const bank = unshared(sharedBank);
  const temporary = randomUUID();
  const drafts = paths.map((path) => `${path}.${temporary}`);
  const edges = shardEdges(bank.rows, options.shardRows ?? SHARD_ROWS_MAX);
  buildShards(library, bank, edges, (shard) => drafts[shard]!);
  const buildSeconds = (performance.now() - started) / 1000;
  const measured = measureRecall(library, bank, options, drafts);
  const record: IndexRecord = { bytes: await sizesOf(drafts), buildSeconds, ...measured };
  for (const [shard, draft] of drafts.entries()) await rename(draft, paths[shard]!);
  await writeFile(`${base}.json.${temporary}`, JSON.stringify(record));
  await rename(`${base}.json.${temporary}`, `${base}.json`);
  return record;
}

/** Finds the first expansion with enough recall for every kind of query. */
function measureRecall(
  library: Usearch,
  bank: MemoryBank,
  options: IndexOptions,
  paths: readonly string[],
): Pick<IndexRecord, 'expansion' | 'recall'> {
  const { neighbourCount, candidates } = options;
  const { near, far, between } = sampleQueries(bank);
  const exactRows = (queries: Float32Array): Int32Array => {
    const { MetricKind } = library;
    const { prototypes, dimension } = bank;
    const { keys } = library.exactSearch(prototypes, queries, dimension, neighbourCount, MetricKind.IP, 0);
    return Int32Array.from(keys as unknown as Iterable<bigint>, Number);
  };
  const kinds = [near, far, between].map((queries) => ({ queries, truth: exactRows(queries) }));
  let best = 0;
  for (const expansion of EXPANSIONS) {
    const shards = new Shards(library, paths, bank.dimension, expansion);
    const [ofNear = 0, ofFar = 0, ofBetween = 0] = kinds.map(({ queries, truth }) => {
      const found = shards.search(queries, SAMPLE_QUERIES, candidates);
      return recallOf(bank, queries, found, truth, options);
    });
    const recall = Math.min(ofNear, ofFar);
    if (recall >= RECALL_MIN && ofBetween >= BETWEEN_RECALL_MIN) return { expansion, recall };
    // Includes the last kind, so that the reported recall is too low also where only that kind fails.
    best = Math.max(best, Math.min(recall, ofBetween));
  }
  return { expansion: null, recall: best };
}

/**
 * Queries that stand for the patches of a radiograph. Patches of chest radiographs outside a bank of 250,000 rows
 * needed a search as wide as these (docs/results/2026-11/engines.md, "Search"): normal patches as `near`, patches of
 * pneumonia as `far`. The farther a query is from the prototypes, the harder it is; queries `between` two are the
 * hardest.
 */
function sampleQueries({ rows, dimension, prototypes }: MemoryBank) {
  const random = createRandom(SAMPLE_SEED);
  const pick = (): number => Math.floor(random() * rows) * dimension;
  const sample = (axisOf: (row: number, other: number) => number): Float32Array => {
    const queries = new Float32Array(SAMPLE_QUERIES * dimension);
    for (let query = 0; query < SAMPLE_QUERIES; query++) {
      const [row, other] = [pick(), pick()];
      for (let axis = 0; axis < dimension; axis++) {
        queries[query * dimension + axis] = axisOf(row + axis, other + axis);
      }
    }
    return normaliseRows(queries, dimension);
  };
  // The variance of uniform noise is a third of its squared half-width.
  const noise = (length: number): number => (2 * random() - 1) * length * Math.sqrt(3 / dimension);
  return {
    near: sample((row) => prototypes[row]! + noise(NOISE.near)),
    far: sample((row) => prototypes[row]! + noise(NOISE.far)),
    between: sample((row, other) => prototypes[row]! + prototypes[other]!),
  };
}

/** Recall by distance, not by row: prototypes at the same distance are equally good. */
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
    const exact = truth.subarray(query * neighbourCount, (query + 1) * neighbourCount);
    const farthest = Math.max(...Array.from(exact, distance));
    const close = Array.from(found.subarray(query * candidates, (query + 1) * candidates)).filter(
      (row) => row >= 0 && distance(row) <= farthest + 1e-6,
    );
    hits += Math.min(neighbourCount, close.length);
  }
  return hits / (count * neighbourCount);
}
