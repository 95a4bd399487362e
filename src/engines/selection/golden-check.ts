/** The golden check: a loaded model must reproduce the golden scores of its bundle before the engine may serve it. */

import type { GoldenBatch } from '../../bundle/check.js';
import type { Manifest } from '../../bundle/manifest.js';
import { SaladError } from '../../errors/index.js';
import { goldenToleranceOf } from '../../network/precision.js';
import { allocatePatchBatch } from '../batch.js';
import type { Engine, EngineModel, EngineModelSource, Precision } from '../engine.js';

/** What a golden check needs of a bundle. */
export interface GoldenCheckBundle extends EngineModelSource {
  readonly golden: GoldenBatch;
  readonly manifest: Pick<Manifest, 'goldenTolerance'>;
}

/** The JSON of `salad doctor` has these fields. */
export interface GoldenCheckResult {
  readonly passed: boolean;
  /** Largest absolute difference to the golden scores; null where the engine gave no scores. */
  readonly maxAbsScoreError: number | null;
  /** Precision in which the model ran; null where it did not run. */
  readonly precision: Precision | null;
  readonly reason?: string;
}

/** Largest absolute difference; infinite where a score is not a number. */
function largestError(scores: Float32Array, golden: Float32Array): number {
  let largest = 0;
  golden.forEach((expected, index) => {
    const error = Math.abs(scores[index]! - expected);
    largest = Math.max(largest, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  });
  return largest;
}

/** Runs the golden batch on a loaded model. @throws SaladError ENGINE_FAILED */
export async function runGoldenCheckOnModel(
  model: EngineModel,
  bundle: GoldenCheckBundle,
): Promise<GoldenCheckResult> {
  const { golden } = bundle;
  const count = golden.positions.length / 2;
  const patches = allocatePatchBatch(count, model);
  await model.run({ count, pixels: golden.pixels, positions: golden.positions }, patches);
  const maxAbsScoreError = largestError(patches.scores, golden.scores);
  const tolerance = goldenToleranceOf(model.precision, bundle.manifest.goldenTolerance, golden.scores);
  const { precision } = model;
  if (maxAbsScoreError <= tolerance) return { passed: true, maxAbsScoreError, precision };
  const reason = `golden scores differ by ${maxAbsScoreError}; the bundle allows ${tolerance}`;
  return { passed: false, maxAbsScoreError, precision, reason };
}

/** Loads the bundle, runs its golden batch and unloads it. An error becomes a failed result. */
export async function runGoldenCheck(engine: Engine, bundle: GoldenCheckBundle): Promise<GoldenCheckResult> {
  try {
    const model = await engine.load(bundle);
    try {
      return await runGoldenCheckOnModel(model, bundle);
    } finally {
      await model.dispose();
    }
  } catch (error) {
    const reason = SaladError.from(error).message;
    return { passed: false, maxAbsScoreError: null, precision: null, reason };
  }
}
