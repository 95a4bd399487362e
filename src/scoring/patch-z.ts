/**
 * Robust z of the patches of an image: how far each patch score lies above those of normal images in its cell
 * (docs/explanation/salad-method.md, section 8). Scores may be smoothed over the grid first; the tables of the cells may
 * be those of two views (such as PA and AP), mixed by the probability of the second; cells far from the centre may be
 * given less weight.
 */
import { columnOf, rowOf } from '../geometry/cells.js';
import type { CalibrationTables, ScoringSpec } from '../geometry/specifications.js';

/** Converts the MAD of a normal distribution to its standard deviation. */
const MAD_TO_SIGMA = 1.4826;
/** A Gaussian is cut off after this many standard deviations. */
const BLUR_REACH = 4;

/** Median and spread of normal patch scores, per cell; of both views where there are two. */
export type PatchTables = Pick<CalibrationTables, 'patchMedian' | 'patchMad' | 'secondView'>;

/** What turns patch scores into z: sections of a manifest. */
export interface ZModel {
  readonly scoring: Pick<ScoringSpec, 'blur' | 'edgePenalty'>;
  readonly calibration: PatchTables;
}

/** The engine's results of one image over the patch grid, row by row. */
export interface GridScores {
  /** float32 [patchGrid squared]; NaN where the patch was not scored. */
  readonly scores: Float32Array;
  /** float32 [patchGrid squared, D]; read only where the model has two views. */
  readonly embeddings: Float32Array;
}

/** Patch scores as they enter z. */
export interface SmoothedScores {
  /** float32 [patchGrid squared]; NaN where the patch was not scored. */
  readonly scores: Float32Array;
  /** Probability of the second view, in [0, 1]; 0 where the model has one view. */
  readonly secondView: number;
}

/** Whether z needs the scores of the whole image at once. Otherwise each patch has its z as soon as it is scored. */
export function needsWholeImage({ scoring, calibration }: ZModel): boolean {
  return scoring.blur !== undefined || calibration.secondView !== undefined;
}

/**
 * Robust z of one patch: (score - median) / (1.4826 * spread) of its cell.
 * @param secondView probability of the second view; median and spread are mixed by it
 */
export function robustZ(tables: PatchTables, cell: number, score: number, secondView = 0): number {
  const { patchMedian, patchMad, secondView: second } = tables;
  if (second === undefined) return (score - patchMedian[cell]!) / (MAD_TO_SIGMA * patchMad[cell]!);
  const mix = (a: readonly number[], b: readonly number[]): number =>
    (1 - secondView) * a[cell]! + secondView * b[cell]!;
  const spread = MAD_TO_SIGMA * mix(patchMad, second.patchMad);
  return (score - mix(patchMedian, second.patchMedian)) / spread;
}

/**
 * The offset that is subtracted from z in every cell: the penalty times the squared distance of the cell's centre from the
 * centre of the grid, in units of half the grid's side (2 in a corner of a fine grid).
 */
export function edgeOffset(cell: number, patchGrid: number, edgePenalty = 0): number {
  const y = (2 * rowOf(cell, patchGrid) + 1) / patchGrid - 1;
  const x = (2 * columnOf(cell, patchGrid) + 1) / patchGrid - 1;
  return edgePenalty * (y * y + x * x);
}

/**
 * Robust z of all patches of an image less the offsets of their cells, in float64; NaN where a patch was not scored.
 */
export function robustZOf(
  { calibration, scoring }: ZModel,
  { scores, secondView }: SmoothedScores,
): number[] {
  const patchGrid = Math.sqrt(scores.length);
  return Array.from(
    scores,
    (score, cell) =>
      robustZ(calibration, cell, score, secondView) - edgeOffset(cell, patchGrid, scoring.edgePenalty),
  );
}

/** Smooths the scores and finds the view, where the model does so. */
export function smoothedScores(
  { scoring, calibration }: ZModel,
  { scores, embeddings }: GridScores,
): SmoothedScores {
  return {
    scores: scoring.blur === undefined ? scores : blurGrid(scores, scoring.blur),
    secondView:
      calibration.secondView === undefined
        ? 0
        : secondViewProbability(calibration.secondView, meanEmbedding(embeddings, scores.length)),
  };
}

/** float64 [D]: the mean embedding of all patches. @param embeddings float32 [patches, D] */
export function meanEmbedding(embeddings: Float32Array, patches: number): Float64Array {
  const dimension = embeddings.length / patches;
  const mean = new Float64Array(dimension);
  for (let at = 0; at < embeddings.length; at += 1) mean[at % dimension]! += embeddings[at]! / patches;
  return mean;
}

/** Logistic function of a linear function of the image's mean embedding. */
export function secondViewProbability(
  { weights, bias }: Pick<NonNullable<CalibrationTables['secondView']>, 'weights' | 'bias'>,
  mean: ArrayLike<number>,
): number {
  return 1 / (1 + Math.exp(-weights.reduce((sum, weight, axis) => sum + weight * mean[axis]!, bias)));
}

/**
 * Smooths a square grid by a Gaussian; beyond the border the outer values are repeated. A NaN makes every value in its
 * reach NaN.
 * @param sigma standard deviation in cells
 */
export function blurGrid(values: Float32Array, sigma: number): Float32Array {
  const side = Math.sqrt(values.length);
  const reach = Math.round(BLUR_REACH * sigma);
  const kernel = Float64Array.from({ length: 2 * reach + 1 }, (_, i) =>
    Math.exp(-((i - reach) ** 2) / (2 * sigma ** 2)),
  );
  const total = kernel.reduce((sum, weight) => sum + weight, 0);
  const along = (source: ArrayLike<number>, step: number, across: number): Float64Array => {
    const out = new Float64Array(side * side);
    for (let line = 0; line < side; line += 1) {
      for (let at = 0; at < side; at += 1) {
        let sum = 0;
        for (let k = -reach; k <= reach; k += 1) {
          const inside = Math.min(side - 1, Math.max(0, at + k));
          sum += kernel[k + reach]! * source[line * across + inside * step]!;
        }
        out[line * across + at * step] = sum / total;
      }
    }
    return out;
  };
  return Float32Array.from(along(along(values, side, 1), 1, side));
}
