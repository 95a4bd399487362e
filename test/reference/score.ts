/** Reference implementation of search and score: slow, in float64, sorts every candidate of the search window. */
import type { EngineModelSource, TileBatch } from '../../src/engines/engine.js';
import { neighbourWeights, type PatchScoringSpec, patchScoreFromDistances } from '../../src/scoring/knn.js';
import { referenceForward } from './network.js';

export interface ReferencePatch {
  readonly score: number;
  readonly neighbours: readonly { readonly row: number; readonly distance: number }[];
  readonly embedding: Float64Array;
}

/** Scores the patches of a batch, tile by tile and row by row within a tile. */
export function referencePatches(source: EngineModelSource, tiles: TileBatch): ReferencePatch[] {
  const { tilePixels, patchesPerSide, patchesPerTile } = source.geometry;
  const columns = patchesPerTile / patchesPerSide;
  const patches: ReferencePatch[] = [];
  for (let tile = 0; tile < tiles.count; tile++) {
    const pixels = tiles.pixels.slice(tile * tilePixels, (tile + 1) * tilePixels);
    const output = referenceForward(source.network, source.weights, pixels);
    for (let row = 0; row < patchesPerSide; row++) {
      for (let column = 0; column < columns; column++) {
        const start = (row * columns + column) * output.channels;
        const embedding = output.data.slice(start, start + output.channels);
        const gridRow = tiles.positions[2 * tile]! * patchesPerSide + row;
        const gridColumn = tiles.positions[2 * tile + 1]! * columns + column;
        patches.push(scorePatch(source, embedding, gridRow, gridColumn));
      }
    }
  }
  return patches;
}

function scorePatch(
  source: EngineModelSource,
  embedding: Float64Array,
  gridRow: number,
  gridColumn: number,
): ReferencePatch {
  const { bank, scoring } = source.search!;
  const searchRadius = scoring.searchRadius ?? Number.POSITIVE_INFINITY;
  const candidates: { row: number; distance: number; cosine: number }[] = [];
  for (let row = 0; row < bank.rows; row++) {
    if (Math.abs(bank.positions[2 * row]! - gridRow) > searchRadius) continue;
    if (Math.abs(bank.positions[2 * row + 1]! - gridColumn) > searchRadius) continue;
    let cosine = 0;
    for (let axis = 0; axis < bank.dimension; axis++) {
      cosine += embedding[axis]! * bank.prototypes[row * bank.dimension + axis]!;
    }
    cosine = Math.min(1, Math.max(-1, cosine));
    candidates.push({ row, distance: distanceFromCosine(cosine, scoring.distance), cosine });
  }
  candidates.sort((a, b) => b.cosine - a.cosine || a.row - b.row);
  const nearest = candidates.slice(0, scoring.neighbourCount);
  const weights = nearest.map(({ cosine }) =>
    scoring.form === 'mean' ? 1 : Math.exp((cosine - 1) / scoring.temperature),
  );
  const total = weights.reduce((a, b) => a + b, 0);
  const score = nearest.reduce((sum, { distance }, index) => sum + (weights[index]! / total) * distance, 0);
  return { score, neighbours: nearest, embedding };
}

/** Distance of two unit vectors from their cosine; clamps it, because products of float32 unit vectors exceed 1. */
export function distanceFromCosine(cosine: number, distance: PatchScoringSpec['distance']): number {
  const clamped = Math.min(1, Math.max(-1, cosine));
  return distance === 'angular' ? Math.acos(clamped) / Math.PI : Math.sqrt(2 - 2 * clamped);
}

/**
 * Score and distances of one patch from the cosines `similarities[offset .. offset + k)`, as the formulas of
 * docs/explanation/salad-method.md, section 7 are written. A float32 cosine near 1 holds its distance to about 3e-4
 * only, so engines compute distances from differences (`distanceFromSquaredChord`), which is exact.
 */
export function patchScoreFromSimilarities(
  similarities: ArrayLike<number>,
  offset: number,
  k: number,
  scoring: PatchScoringSpec,
): { readonly score: number; readonly distances: Float64Array } {
  const distances = Float64Array.from({ length: k }, (_, index) =>
    distanceFromCosine(similarities[offset + index]!, scoring.distance),
  );
  return { score: patchScoreFromDistances(distances, 0, k, scoring), distances };
}

/**
 * W2, the other reading of the paper's abstract: the angular distance to the normalised weighted combination of the
 * K nearest prototypes. It gives an outlier between two clusters a low score, so it is not served
 * (docs/explanation/salad-method.md, section 7).
 * @param embedding unit vector [dimension]
 * @param prototypes unit rows [rows, dimension]
 * @param neighbours row numbers of the K nearest prototypes
 * @returns arccos(z . p) / pi in [0, 1]
 */
export function weightedPrototypeDistance(
  embedding: readonly number[],
  prototypes: ArrayLike<number>,
  neighbours: readonly number[],
  temperature: number,
): number {
  const dimension = embedding.length;
  const dot = (row: number) =>
    embedding.reduce((sum, value, axis) => sum + value * prototypes[row * dimension + axis]!, 0);
  const weights = neighbourWeights(neighbours.map(dot), temperature);
  const combination = embedding.map((_, axis) =>
    neighbours.reduce((sum, row, k) => sum + weights[k]! * prototypes[row * dimension + axis]!, 0),
  );
  const cosine =
    combination.reduce((sum, value, axis) => sum + value * embedding[axis]!, 0) / Math.hypot(...combination);
  return Math.acos(Math.min(1, Math.max(-1, cosine))) / Math.PI;
}
