/** Builds a bundle around an encoder: memory bank, calibration, golden batch, model card. Common to all presets. */
import { type Bundle, type BundleDraft, writeBundle } from '../../bundle/bundle.js';
import type { CalibrationTables } from '../../geometry/specifications.js';
import { asSentence, calibrationWarnings } from '../../scoring/calibration-warnings.js';
import type { TrainingPreset } from '../encoders/preset.js';
import { makeGoldenBatch } from './golden.js';
import { modelCard } from './model-card.js';
import type { FittedGate } from './plausibility-fit.js';
import { type FittedScoring, fitScoring, type ScoringFitOptions, storageOf } from './scoring-fit.js';
import type { ThresholdOptions } from './strata.js';

/** Largest score difference an engine may show on the golden batch (docs/explanation/engines.md). */
const GOLDEN_TOLERANCE = 1e-4;

export interface BuildOptions extends ScoringFitOptions {
  /** Folder of the new version. */
  readonly bundleDirectory: string;
  readonly name: string;
  readonly version: number;
  readonly description: string;
  /** Sentences of the user for the model card, such as source and terms of the data. */
  readonly notes: readonly string[];
  readonly preset: TrainingPreset;
  /** The command as the model card shows it, without paths that differ between two runs. */
  readonly command: string;
  readonly saladServe: string;
  /** Number of exact copies that were left out. */
  readonly duplicateCount: number;
  readonly hasPatientTable: boolean;
  readonly dataSha256: string;
  /** Pixel hashes of every different image that fits or calibrates, ascending. */
  readonly pixelHashes: readonly string[];
}

function thresholdNotes({ contamination }: ThresholdOptions, { strata }: CalibrationTables): string[] {
  return [
    ...(contamination > 0
      ? [
          `The highest ${100 * contamination} % of the image scores were left out of the calibration: this share of the normals is assumed to be abnormal.`,
        ]
      : []),
    ...(strata !== undefined
      ? [
          'Thresholds hold in every fifth of the normals by field of view, sharpness and brightness: over all normals, fewer are flagged than the nominal rate.',
        ]
      : []),
  ];
}

const percent = (share: number): string => `${Number((100 * share).toPrecision(2))} %`;

function gateNotes(plausibility: FittedGate | undefined): string[] {
  if (plausibility === undefined) return [];
  const { flaggedShare, mirroredShare } = plausibility;
  return [
    `Plausibility: of normals that the gate was not fitted on, ${percent(flaggedShare)} would be indeterminate; of mirrored ` +
      `normals ${percent(mirroredShare)} are found to be mirrored.`,
  ];
}

function viewNotes({ secondView }: CalibrationTables): string[] {
  if (secondView === undefined) return [];
  const [first, second] = secondView.names;
  return [
    `Medians and spreads of the cells are those of two views, ${first} and ${second}, mixed by the predicted probability ` +
      'of the second; the bank holds as equal numbers of both as there are.',
  ];
}

function trainingNotes(
  options: BuildOptions,
  { built, calibration, plausibility }: Pick<FittedScoring, 'built' | 'calibration' | 'plausibility'>,
): string[] {
  return [
    ...options.notes,
    ...calibrationWarnings(calibration).map(asSentence),
    ...thresholdNotes(options.thresholds, calibration),
    ...viewNotes(calibration),
    ...gateNotes(plausibility),
    `${options.duplicateCount} exact ${options.duplicateCount === 1 ? 'duplicate was' : 'duplicates were'} left out.`,
    `Memory bank from ${built.candidates} patches: ${built.duplicates} duplicates and ${built.outliers} outliers ` +
      `(least similar to the patches of other patients in the same cell) left out, then ${options.coreset} thinning per cell.`,
    ...(options.hasPatientTable
      ? []
      : ['No table of patients was given: every image counted as its own patient.']),
  ];
}

/**
 * Fits memory bank and calibration and writes the bundle.
 * @throws SaladError TRAINING_DATA_INVALID where the bank is too small for the search; CANCELLED when aborted.
 */
export async function buildBundle(options: BuildOptions): Promise<Bundle> {
  const { plan, encoder } = options;
  const fitted = await fitScoring(options);
  const { source, built, calibration, plausibility } = fitted;
  const { weights, search } = source;
  const { bank } = search;
  const golden = await makeGoldenBatch(options.engine, source, plan);
  const manifest: BundleDraft['manifest'] = {
    name: options.name,
    version: options.version,
    description: options.description,
    input: plan.input,
    tiling: plan.tiling,
    network: encoder.network,
    scoring: plan.scoring,
    calibration,
    ...(plausibility ? { plausibility: plausibility.gate.spec } : {}),
    training: {
      preset: options.preset.name,
      seed: options.seed,
      engine: options.engine.info.name,
      saladServe: options.saladServe,
      command: options.command,
      images: {
        fit: options.fit.length,
        validation: options.calibrationA.length + options.calibrationB.length,
      },
      dataSha256: options.dataSha256,
      pixelHashes: [...options.pixelHashes],
      sourceImages: options.fit.map((image) => image.id),
      notes: trainingNotes(options, fitted),
    },
    goldenTolerance: GOLDEN_TOLERANCE,
  };
  const card = modelCard({
    manifest,
    bankSize: { rows: bank.rows, dimension: bank.dimension },
    calibrationImages: { a: options.calibrationA.length, b: options.calibrationB.length },
    duplicateCount: options.duplicateCount,
    hasPatientTable: options.hasPatientTable,
    bank: built,
    limits: plan.limits,
  });
  return writeBundle(options.bundleDirectory, {
    manifest,
    weights,
    bank,
    golden,
    modelCard: card,
    ...(plausibility ? { plausibility: plausibility.gate.tensors } : {}),
    storage: storageOf(weights),
  });
}
