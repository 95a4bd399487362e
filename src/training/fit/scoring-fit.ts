/**
 * Fits the scoring of an encoder: the memory bank of normal patches, and the calibration by normal images that are not
 * in the bank. Used to build bundles and to validate settings (bench/research/validation.ts).
 */
import { roundBankForStorage, type StoragePrecision } from '../../bundle/tensors.js';
import type { Engine, EngineModelSource } from '../../engines/engine.js';
import { type Geometry, geometryOf } from '../../geometry/geometry.js';
import type { CalibrationTables } from '../../geometry/specifications.js';
import type { Weights } from '../../network/description.js';
import { roundToFloat16 } from '../../network/float16.js';
import { aggregateImage, fitCalibrationTables, type ViewModel } from '../../scoring/calibration.js';
import { type MemoryBank, selectRows } from '../../scoring/memory-bank.js';
import {
  blurGrid,
  meanEmbedding,
  type SmoothedScores,
  secondViewProbability,
} from '../../scoring/patch-z.js';
import { FOLD_COUNT, foldsByPatient } from '../data/patient-folds.js';
import type { EncoderNetwork, FitImage, TrainingPlan, TrainingProgress } from '../encoders/preset.js';
import { fitAlignmentReference } from './alignment-reference.js';
import { type BankCandidates, type BuiltBank, buildBank, type CoresetMethod } from './bank-builder.js';
import { type EmbeddedImages, embedImages, embedMirrored, runImages } from './image-passes.js';
import { type FittedGate, fitPlausibility, GATE_IMAGES_MIN } from './plausibility-fit.js';
import { checkBankSize } from './requirements.js';
import { refineThresholds, type ThresholdOptions } from './strata.js';
import { crossFittedViews, fitViewModel, twoViews } from './view-model.js';

/**
 * Prototypes are most of a bundle, and half precision is enough for them. Weights are stored in half precision where
 * that changes none of them, as those of a pretrained encoder.
 */
export function storageOf(weights: Weights): StoragePrecision {
  const halves = new Set([...weights].filter(([, { data }]) => isFloat16(data)).map(([name]) => name));
  return { bank: 'F16', weights: (name) => (halves.has(name) ? 'F16' : 'F32') };
}

function isFloat16(values: Float32Array): boolean {
  const rounded = roundToFloat16(values);
  return values.every((value, index) => value === rounded[index]);
}

const BANK_STORAGE: StoragePrecision = { bank: 'F16' };

export interface ScoringFitOptions {
  readonly plan: TrainingPlan;
  readonly seed: number;
  readonly engine: Engine;
  readonly bankRows?: number;
  readonly coreset: CoresetMethod;
  /** Fraction of patches left out of the bank as outliers, in [0, 0.5). */
  readonly outlierFraction: number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: TrainingProgress) => void;
  readonly thresholds: ThresholdOptions;
  readonly encoder: EncoderNetwork;
  readonly fit: readonly FitImage[];
  /** Empty where calibration is cross-fitted over the fit images. */
  readonly calibrationA: readonly FitImage[];
  readonly calibrationB: readonly FitImage[];
}

export interface FittedScoring {
  /** Encoder and bank in storage precision. */
  readonly source: EngineModelSource & { readonly search: { readonly bank: MemoryBank } };
  readonly built: BuiltBank;
  readonly calibration: CalibrationTables;
  /** Absent where the plan has no plausibility gate, or there are too few images for one. */
  readonly plausibility: FittedGate | undefined;
}

/**
 * Rounds a bank to the storage precision. Rounding and scaling to unit length a second time changes a few rows, which
 * alternate between two neighbouring values; these rows are dropped, because the stored bank must be the one that was
 * calibrated.
 */
function roundToStorage(bank: MemoryBank): MemoryBank {
  const once = roundBankForStorage(bank, BANK_STORAGE);
  const twice = roundBankForStorage(once, BANK_STORAGE);
  const stableRows: number[] = [];
  for (let row = 0; row < once.rows; row += 1) {
    const from = row * once.dimension;
    const values = once.prototypes.subarray(from, from + once.dimension);
    if (values.every((value, i) => value === twice.prototypes[from + i])) stableRows.push(row);
  }
  return selectRows(once, stableRows);
}

/** The views of the fit images, where the plan distinguishes them and there are enough images of each. */
function viewsOf({ plan, fit }: ScoringFitOptions): readonly [string, string] | undefined {
  return plan.usesViews ? twoViews(fit) : undefined;
}

async function buildStoredBank(options: ScoringFitOptions, candidates: BankCandidates): Promise<BuiltBank> {
  const views = viewsOf(options) && options.fit.map(({ view = '' }) => view);
  const built = await buildBank(
    candidates,
    options.fit.map((image) => image.patient),
    {
      bankRows: options.bankRows ?? options.plan.bankRows,
      coreset: options.coreset,
      outlierFraction: options.outlierFraction,
      seed: options.seed,
      ...(views ? { views } : {}),
      signal: options.signal,
    },
  );
  return { ...built, bank: roundToStorage(built.bank) };
}

interface ImageResult {
  /** float32 [patchGrid squared], smoothed; NaN where not scored. */
  readonly scores: Float32Array;
  /** Mean embedding, float64 [D]. */
  readonly mean: Float64Array;
}

async function scoreImages(
  options: ScoringFitOptions,
  source: EngineModelSource,
  images: readonly FitImage[],
  stage: string,
): Promise<ImageResult[]> {
  const results: ImageResult[] = [];
  const { blur } = options.plan.scoring;
  await runImages(options, source, images, stage, ({ scores, embeddings }) => {
    results.push({
      scores: blur === undefined ? scores : blurGrid(scores, blur),
      mean: meanEmbedding(embeddings, scores.length),
    });
  });
  return results;
}

/**
 * Scores every fit image against a bank without the patients of its fold, so that all normal images calibrate and all
 * are in the bank that is served. Only for encoders that do not memorise training images. The whitening was fitted on
 * all images; that is acceptable, because it has d²/2 parameters from thousands of patches.
 */
async function scoreCrossFitted(
  options: ScoringFitOptions,
  encoderSource: EngineModelSource,
  candidates: BankCandidates,
): Promise<ImageResult[]> {
  const { fit, plan, seed } = options;
  const folds = foldsByPatient(fit, seed);
  const scores = new Array<ImageResult>(fit.length);
  for (let fold = 0; fold < FOLD_COUNT; fold += 1) {
    const members = [...fit.keys()].filter((index) => folds[index] === fold);
    if (members.length === 0) continue;
    const { bank } = await buildStoredBank(
      options,
      candidates.filterSources((source) => folds[source] !== fold),
    );
    const foldRows = candidates.filterSources((source) => folds[source] === fold).rowsByCell();
    const scoredCells = Uint8Array.from(foldRows, (rows) => (rows.length > 0 ? 1 : 0));
    checkBankSize(bank, encoderSource.geometry.patchGrid, plan.scoring, scoredCells);
    const source = { ...encoderSource, search: { bank, scoring: plan.scoring } };
    const images = members.map((index) => fit[index]!);
    const stage = `calibrating, fold ${fold + 1} of ${FOLD_COUNT}`;
    (await scoreImages(options, source, images, stage)).forEach((each, i) => {
      scores[members[i]!] = each;
    });
  }
  return scores;
}

/**
 * Fits the calibration tables from patch scores of normal images that are not in the bank: half A gives median and
 * spread per cell, half B the image scores (docs/explanation/salad-method.md, section 8). Where calibration is
 * cross-fitted, every image is in both halves, because one image of hundreds hardly changes the median and spread of a
 * cell.
 */
async function fitCalibration(
  options: ScoringFitOptions,
  encoderSource: EngineModelSource,
  source: EngineModelSource,
  { candidates, means }: EmbeddedImages,
): Promise<CalibrationTables> {
  const { plan, fit } = options;
  const isHeldOut = options.calibrationA.length > 0;
  const images = isHeldOut ? options.calibrationB : fit;
  const results = isHeldOut
    ? await scoreImages(options, source, images, 'calibrating images')
    : await scoreCrossFitted(options, encoderSource, candidates);
  const halfA = isHeldOut
    ? await scoreImages(options, source, options.calibrationA, 'calibrating patches')
    : results;
  const { model, probabilities } = fitViews(options, means);
  const withViews = (each: readonly ImageResult[], isFit: boolean): SmoothedScores[] =>
    each.map(({ scores, mean }, index) => ({
      scores,
      secondView: !model ? 0 : isFit ? probabilities[index]! : secondViewProbability(model, mean),
    }));
  const smoothed = withViews(results, !isHeldOut);
  const tables = fitCalibrationTables(
    withViews(halfA, !isHeldOut),
    smoothed,
    source.geometry,
    plan.scoring,
    model,
  );
  const scoredModel = { calibration: tables, scoring: plan.scoring };
  const scored = images.map((image, index) => ({
    image: image.image,
    score: aggregateImage(smoothed[index]!, scoredModel, source.geometry).score,
    ...(model ? { view: model.names[Number(smoothed[index]!.secondView >= 0.5)] } : {}),
  }));
  return refineThresholds(tables, scored, options.thresholds);
}

/** Fits the view model, where there is one, and predicts the view of every fit image without its fold. */
function fitViews(
  options: ScoringFitOptions,
  means: readonly Float64Array[],
): { readonly model: ViewModel | undefined; readonly probabilities: readonly number[] } {
  const names = viewsOf(options);
  if (names === undefined) return { model: undefined, probabilities: [] };
  const isSecond = options.fit.map(({ view }) => view === names[1]);
  const probabilities = crossFittedViews(means, isSecond, foldsByPatient(options.fit, options.seed));
  return { model: fitViewModel(means, isSecond, names), probabilities };
}

/**
 * Fits the memory bank and the calibration.
 * @throws SaladError TRAINING_DATA_INVALID where the bank is too small for the search; CANCELLED when aborted.
 */
export async function fitScoring(options: ScoringFitOptions): Promise<FittedScoring> {
  const { plan, encoder, fit } = options;
  const geometry = geometryOf(plan.input, plan.tiling);
  const encoderSource: EngineModelSource = { ...encoder, geometry };
  const regions = plan.judgesPlausibility && fit.length >= GATE_IMAGES_MIN ? regionsOf(geometry) : 0;
  const embedded = await embedImages(options, encoderSource, fit, regions);
  const built = await buildStoredBank(options, embedded.candidates);
  checkBankSize(built.bank, geometry.patchGrid, plan.scoring);
  const source = { ...encoderSource, search: { bank: built.bank, scoring: plan.scoring } };
  const calibration = await fitCalibration(options, encoderSource, source, embedded);
  const plausibility = regions > 0 ? await fitGate(options, encoderSource, embedded, regions) : undefined;
  return { source, built, calibration, plausibility };
}

/** Regions of about 7 cells of a fine grid, or 2 of a coarse one. */
function regionsOf({ patchGrid }: Geometry): number {
  return patchGrid >= 12 ? 4 : Math.min(3, patchGrid);
}

async function fitGate(
  options: ScoringFitOptions,
  encoderSource: EngineModelSource,
  embedded: EmbeddedImages,
  regions: number,
): Promise<FittedGate> {
  const { fit, plan, seed } = options;
  const mirrored = await embedMirrored(options, encoderSource, fit, regions);
  const folds = foldsByPatient(fit, seed);
  const fitted = fitPlausibility({ features: embedded.regions, folds, mirrored, regions, seed });
  if (plan.align) return fitted;
  const { tensors, spec } = fitted.gate;
  const pixels = fit.map(({ image }) => image.pixels);
  const reference = fitAlignmentReference(pixels, plan.input.workingSize);
  return { ...fitted, gate: { tensors, spec: { ...spec, reference } } };
}
