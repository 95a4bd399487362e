/**
 * Fits the scoring of an encoder: the memory bank of normal patches, and the calibration by normal images that are not
 * in the bank. Used to build bundles and to validate settings (bench/research/validation.ts).
 */
import { roundBankForStorage, roundWeightsForStorage, type StoragePrecision } from '../../bundle/tensors.js';
import type { Engine, EngineModelSource } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import { geometryOf } from '../../geometry/geometry.js';
import type { CalibrationTables } from '../../geometry/specifications.js';
import { imageScore } from '../../scoring/aggregate.js';
import { fitCalibrationTables, robustZOf } from '../../scoring/calibration.js';
import { type MemoryBank, selectRows } from '../../scoring/memory-bank.js';
import { type ImagePatches, ImageScorer } from '../data/image-scorer.js';
import { FOLD_COUNT, foldsByPatient } from '../data/patient-folds.js';
import type { EncoderNetwork, FitImage, TrainingPlan, TrainingProgress } from '../encoders/preset.js';
import { BankCandidates, type BuiltBank, buildBank, type CoresetMethod } from './bank-builder.js';
import { checkBankSize } from './requirements.js';
import { refineThresholds, type ThresholdOptions } from './strata.js';

/** Prototypes are most of a bundle, and half precision is enough for them; weights stay float32. */
export const STORAGE: StoragePrecision = { bank: 'F16' };

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

interface FittedScoring {
  /** Encoder and bank in storage precision. */
  readonly source: EngineModelSource & { readonly search: { readonly bank: MemoryBank } };
  readonly built: BuiltBank;
  readonly calibration: CalibrationTables;
}

/** Runs all images through one model, in order. */
async function runImages(
  options: ScoringFitOptions,
  source: EngineModelSource,
  images: readonly FitImage[],
  stage: string,
  onPatches: (patches: ImagePatches, index: number) => void,
): Promise<void> {
  const scorer = await ImageScorer.open(options.engine, source);
  try {
    for (const [index, { image }] of images.entries()) {
      if (options.signal.aborted) throw new SaladError('CANCELLED', 'training was interrupted');
      onPatches(await scorer.run(image), index);
      options.onProgress({ stage, step: index + 1, total: images.length });
    }
  } finally {
    await scorer.dispose();
  }
}

/** Embeds the patches of all fit images. */
async function collectCandidates(
  options: ScoringFitOptions,
  source: EngineModelSource,
): Promise<BankCandidates> {
  let candidates: BankCandidates | undefined;
  await runImages(options, source, options.fit, 'embedding fit images', ({ embeddings, scored }, index) => {
    candidates ??= new BankCandidates(embeddings.length / scored.length, source.geometry.patchGrid);
    candidates.add(embeddings, scored, index);
  });
  if (!candidates || candidates.count === 0) {
    throw new SaladError(
      'TRAINING_DATA_INVALID',
      'no patch for the memory bank: every tile of the fit images is background',
    );
  }
  return candidates;
}

/**
 * Rounds a bank to the storage precision. Rounding and scaling to unit length a second time changes a few rows, which
 * alternate between two neighbouring values; these rows are dropped, because the stored bank must be the one that was
 * calibrated.
 */
function roundToStorage(bank: MemoryBank): MemoryBank {
  const once = roundBankForStorage(bank, STORAGE);
  const twice = roundBankForStorage(once, STORAGE);
  const stableRows: number[] = [];
  for (let row = 0; row < once.rows; row += 1) {
    const from = row * once.dimension;
    const values = once.prototypes.subarray(from, from + once.dimension);
    if (values.every((value, i) => value === twice.prototypes[from + i])) stableRows.push(row);
  }
  return selectRows(once, stableRows);
}

async function buildStoredBank(options: ScoringFitOptions, candidates: BankCandidates): Promise<BuiltBank> {
  const built = await buildBank(
    candidates,
    options.fit.map((image) => image.patient),
    {
      bankRows: options.bankRows ?? options.plan.bankRows,
      coreset: options.coreset,
      outlierFraction: options.outlierFraction,
      seed: options.seed,
      signal: options.signal,
    },
  );
  return { ...built, bank: roundToStorage(built.bank) };
}

async function scoreImages(
  options: ScoringFitOptions,
  source: EngineModelSource,
  images: readonly FitImage[],
  stage: string,
): Promise<Float32Array[]> {
  const patchScores: Float32Array[] = [];
  await runImages(options, source, images, stage, ({ scores }) => {
    patchScores.push(scores);
  });
  return patchScores;
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
): Promise<Float32Array[]> {
  const { fit, plan, seed } = options;
  const folds = foldsByPatient(fit, seed);
  const scores = new Array<Float32Array>(fit.length);
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
  candidates: BankCandidates,
): Promise<CalibrationTables> {
  const { aggregate } = options.plan.scoring;
  const isHeldOut = options.calibrationA.length > 0;
  const images = isHeldOut ? options.calibrationB : options.fit;
  const scores = isHeldOut
    ? await scoreImages(options, source, images, 'calibrating images')
    : await scoreCrossFitted(options, encoderSource, candidates);
  const halfA = isHeldOut
    ? await scoreImages(options, source, options.calibrationA, 'calibrating patches')
    : scores;
  const tables = fitCalibrationTables(halfA, scores, source.geometry, aggregate);
  const imageScores = scores.map((each) => imageScore(robustZOf(tables, each), source.geometry, aggregate));
  return refineThresholds(tables, images, imageScores, options.thresholds);
}

/**
 * Fits the memory bank and the calibration.
 * @throws SaladError TRAINING_DATA_INVALID where the bank is too small for the search; CANCELLED when aborted.
 */
export async function fitScoring(options: ScoringFitOptions): Promise<FittedScoring> {
  const { plan, encoder } = options;
  const geometry = geometryOf(plan.input, plan.tiling);
  const weights = roundWeightsForStorage(encoder.weights, STORAGE);
  const encoderSource: EngineModelSource = { network: encoder.network, weights, geometry };
  const candidates = await collectCandidates(options, encoderSource);
  const built = await buildStoredBank(options, candidates);
  checkBankSize(built.bank, geometry.patchGrid, plan.scoring);
  const source = { ...encoderSource, search: { bank: built.bank, scoring: plan.scoring } };
  const calibration = await fitCalibration(options, encoderSource, source, candidates);
  return { source, built, calibration };
}
