/**
 * Suite `search`: compares exact search and index search of large memory banks with a matrix product of the same size,
 * and with the index library without this project's code.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../src/util/package-root.js';
import { NEIGHBOURS } from '../search/problem.js';
import type { SearchFigures, SearchKind } from '../search/size-process.js';
import type { BenchOptions } from '../support/options.js';

/** The suite goes on without an index that takes longer to build. */
const BUILD_SECONDS_MAX = 300;
/** Index files are kept, so that a second run need not build them again. */
const INDEX_DIRECTORY = join(packageRoot(), '.cache', 'search-bench');

/** Measures in a child process. @returns undefined if it took too long */
async function measure(kind: SearchKind, rows: number): Promise<SearchFigures | undefined> {
  const entry = fileURLToPath(new URL('../search/size-process.js', import.meta.url));
  const child = fork(entry, [kind, String(rows), INDEX_DIRECTORY]);
  const isBuilding = kind === 'index';
  return answerOf(child, isBuilding ? BUILD_SECONDS_MAX : 60);
}

function answerOf(child: ChildProcess, seconds: number): Promise<SearchFigures | undefined> {
  return new Promise((resolve, reject) => {
    let isTimedOut = false;
    const timer = setTimeout(() => {
      isTimedOut = true;
      child.kill('SIGKILL');
    }, seconds * 1000);
    let figures: SearchFigures | undefined;
    child.once('message', (message) => {
      figures = message as SearchFigures;
    });
    child.once('exit', (code) => {
      clearTimeout(timer);
      if (figures !== undefined || isTimedOut) resolve(figures);
      else reject(new Error(`the search process ended with exit code ${code} and without figures`));
    });
  });
}

/** Shares of the true nearest prototypes that were found, for patches near a prototype and for patches between two. */
function recallAtK(found: readonly number[], truth: readonly number[]): Record<string, number> {
  const hits = [0, 0];
  for (let start = 0; start < truth.length; start += NEIGHBOURS) {
    const own = new Set(found.slice(start, start + NEIGHBOURS));
    const patchKind = (start / NEIGHBOURS) % 2;
    hits[patchKind]! += truth.slice(start, start + NEIGHBOURS).filter((row) => own.has(row)).length;
  }
  return { near: hits[0]! / (truth.length / 2), between: hits[1]! / (truth.length / 2) };
}

async function measureSize(rows: number): Promise<Record<string, unknown>> {
  const matmul = await measure('matmul', rows);
  const exact = await measure('exact', rows);
  if (matmul === undefined || exact === undefined) return { measured: false };
  const figures = {
    plainMatmul: { msPerTile: matmul.msPerTile, peakRssMiB: matmul.peakRssMiB },
    exact: { msPerTile: exact.msPerTile, peakRssMiB: exact.peakRssMiB },
    exactOverPlainMatmul: exact.msPerTile / matmul.msPerTile,
  };
  const index = await measure('index', rows);
  const library = index && (await measure('library', rows));
  if (index === undefined || library === undefined) {
    return { ...figures, index: `not built within ${BUILD_SECONDS_MAX} s` };
  }
  return {
    ...figures,
    // The search that a server uses above the limit: an index, or exact search if the recall of the index is too low.
    index: {
      msPerTile: index.msPerTile,
      peakRssMiB: index.peakRssMiB,
      recallAtK: recallAtK(index.neighbours, exact.neighbours),
      search: index.search,
      expansion: library.expansion,
      buildSeconds: library.buildSeconds,
    },
    libraryAlone: {
      msPerTile: library.msPerTile,
      msPerTileAllCores: library.msAllCores,
      recallAtK: recallAtK(library.neighbours, exact.neighbours),
    },
    indexOverLibraryAlone: index.msPerTile / library.msPerTile,
    indexOverPlainMatmul: index.msPerTile / matmul.msPerTile,
    exactOverIndex: exact.msPerTile / index.msPerTile,
  };
}

/** Medians over 50 tiles of 4 patches, D = 128, K = 5, one thread; each kind of search in a separate process. */
export async function benchSearch({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const results: Record<string, unknown> = {};
  for (const rows of quick ? [10_000] : [10_000, 100_000, 1_000_000]) {
    results[`rows${rows}`] = await measureSize(rows);
  }
  return results;
}
