/**
 * What follows an encoder: the memory bank of normal patches, and what held-out normals score against it.
 * Shared by every preset, by bundles that are written and by the validation of settings.
 */

import { quantizeBank, quantizeWeights, type StoragePrecision } from '../../bundle/tensors.js';
import type { Engine, EngineModelSource } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import { geometryOf } from '../../geometry/geometry.js';
import type { CalibrationTables } from '../../geometry/specifications.js';
import { imageScore } from '../../scoring/aggregate.js';
import { fitCalibrationTables, robustZOf } from '../../scoring/calibration.js';
import { type MemoryBank, selectRows } from '../../scoring/memory-bank.js';
import { ImageScorer } from '../data/image-scorer.js';
import { FOLD_COUNT, foldsByPatient } from '../data/patient-folds.js';
import type { EncoderNetwork, FitImage, TrainingPlan, TrainingProgress } from '../encoders/preset.js';
import { BankCandidates, type BuiltBank, buildBank, type CoresetMethod } from './bank-builder.js';
import { checkBankSize } from './requirements.js';
import { refineThresholds, type ThresholdOptions } from './strata.js';

/** Prototypes are most of a bundle and lose nothing that matters in half precision; weights stay float32. */
export const STORAGE: StoragePrecision = { bank: 'F16' };

export interface ScoringFitOptions {
  readonly plan: TrainingPlan;
  readonly seed: number;
  readonly engine: Engine;
  readonly bankRows?: number;
  readonly coreset: CoresetMethod;
  /** Fraction of rows dropped from the bank as outliers, in [0, 0.5). */
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
  /** Encoder and bank as they are stored. */
  readonly source: EngineModelSource & { readonly search: { readonly bank: MemoryBank } };
  readonly built: BuiltBank;
  readonly calibration: CalibrationTables;
}

/** Runs all images through one model, in order. */
async function runAll(
  options: ScoringFitOptions,
  source: EngineModelSource,
  images: readonly FitImage[],
  stage: string,
  take: (patches: Awaited<ReturnType<ImageScorer['run']>>, index: number) => void,
): Promise<void> {
  const scorer = await ImageScorer.open(options.engine, source);
  try {
    for (const [index, { image }] of images.entries()) {
      if (options.signal.aborted) throw new SaladError('CANCELLED', 'training was interrupted');
      take(await scorer.run(image), index);
      options.onProgress({ stage, step: index + 1, total: images.length });
    }
  } finally {
    await scorer.dispose();
  }
}

async function embedAll(options: ScoringFitOptions, source: EngineModelSource): Promise<BankCandidates> {
  let candidates: BankCandidates | undefined;
  await runAll(options, source, options.fit, 'embedding fit images', ({ embeddings, scored }, index) => {
    candidates ??= new BankCandidates(embeddings.length / scored.length, source.geometry.patchGrid);
    candidates.add(embeddings, scored, index);
  });
  if (!candidates || candidates.count === 0) {
    throw new SaladError(
      'TRAINING_DATA_INVALID',
      'no patch to remember: every tile of the fit images is background',
    );
  }
  return candidates;
}

/**
 * The bank as it is stored. Rounding and scaling to unit length settles for all but a few rows, which hop
 * between two neighbouring values; those are left out, since what is stored must be what was calibrated.
 */
function storedBank(bank: MemoryBank): MemoryBank {
  const once = quantizeBank(bank, STORAGE);
  const again = quantizeBank(once, STORAGE);
  const settled: number[] = [];
  for (let row = 0; row < once.rows; row += 1) {
    const from = row * once.dimension;
    const values = once.prototypes.subarray(from, from + once.dimension);
    if (values.every((value, i) => value === again.prototypes[from + i])) settled.push(row);
  }
  return selectRows(once, settled);
}

async function bankOf(options: ScoringFitOptions, candidates: BankCandidates): Promise<BuiltBank> {
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
  return { ...built, bank: storedBank(built.bank) };
}

async function scoresOf(
  options: ScoringFitOptions,
  source: EngineModelSource,
  images: readonly FitImage[],
  stage: string,
): Promise<Float32Array[]> {
  const collected: Float32Array[] = [];
  await runAll(options, source, images, stage, ({ scores }) => {
    collected.push(scores);
  });
  return collected;
}

/**
 * Scores of every fit image against a bank without its patient and others of the same fold: all normals calibrate,
 * and all are in the bank that is served. For encoders that do not learn images by heart only; the whitening has
 * seen them all (d^2/2 numbers from thousands of patches).
 */
async function crossFittedScores(
  options: ScoringFitOptions,
  bare: EngineModelSource,
  candidates: BankCandidates,
): Promise<Float32Array[]> {
  const { fit, plan, seed } = options;
  const folds = foldsByPatient(fit, seed);
  const scores = new Array<Float32Array>(fit.length);
  for (let fold = 0; fold < FOLD_COUNT; fold += 1) {
    const members = [...fit.keys()].filter((index) => folds[index] === fold);
    if (members.length === 0) continue;
    const { bank } = await bankOf(
      options,
      candidates.ofSources((source) => folds[source] !== fold),
    );
    const own = candidates.ofSources((source) => folds[source] === fold).byCell();
    const isScored = Uint8Array.from(own, (rows) => (rows.length > 0 ? 1 : 0));
    checkBankSize(bank, bare.geometry.patchGrid, plan.scoring, isScored);
    const source = { ...bare, search: { bank, scoring: plan.scoring } };
    const images = members.map((index) => fit[index]!);
    const stage = `calibrating, part ${fold + 1} of ${FOLD_COUNT}`;
    (await scoresOf(options, source, images, stage)).forEach((each, i) => {
      scores[members[i]!] = each;
    });
  }
  return scores;
}

/**
 * Patch scores of normals that the bank does not hold: half A fixes where patch scores lie, cell by cell, half B
 * what image scores normals then get (docs/explanation/salad-method.md, section 8). Cross-fitted, every image is in both: of
 * hundreds of images a cell's median and deviation barely feel one.
 */
async function calibrate(
  options: ScoringFitOptions,
  bare: EngineModelSource,
  source: EngineModelSource,
  candidates: BankCandidates,
): Promise<CalibrationTables> {
  const { aggregate } = options.plan.scoring;
  const isHeldOut = options.calibrationA.length > 0;
  const images = isHeldOut ? options.calibrationB : options.fit;
  const scores = isHeldOut
    ? await scoresOf(options, source, images, 'calibrating images')
    : await crossFittedScores(options, bare, candidates);
  const halfA = isHeldOut
    ? await scoresOf(options, source, options.calibrationA, 'calibrating patches')
    : scores;
  const tables = fitCalibrationTables(halfA, scores, source.geometry, aggregate);
  const imageScores = scores.map((each) => imageScore(robustZOf(tables, each), source.geometry, aggregate));
  return refineThresholds(tables, images, imageScores, options.thresholds);
}

/** @throws SaladError TRAINING_DATA_INVALID where too little is left to score with; CANCELLED when aborted. */
export async function fitScoring(options: ScoringFitOptions): Promise<FittedScoring> {
  const { plan, encoder } = options;
  const geometry = geometryOf(plan.input, plan.tiling);
  const weights = quantizeWeights(encoder.weights, STORAGE);
  const bare: EngineModelSource = { network: encoder.network, weights, geometry };
  const candidates = await embedAll(options, bare);
  const built = await bankOf(options, candidates);
  checkBankSize(built.bank, geometry.patchGrid, plan.scoring);
  const source = { ...bare, search: { bank: built.bank, scoring: plan.scoring } };
  return { source, built, calibration: await calibrate(options, bare, source, candidates) };
}
