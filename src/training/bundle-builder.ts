/** The back half every preset shares: encoder in, memory bank, calibration, golden batch and bundle out. */
import type { Engine, EngineModelSource } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import { type Bundle, type BundleParts, writeBundle } from '../model/bundle.js';
import { geometryOf } from '../model/geometry.js';
import type { CalibrationTables } from '../model/manifest.js';
import { quantizeBank, quantizeWeights, type StoragePrecision } from '../model/storage.js';
import { calibrationTables } from '../scoring/calibration.js';
import { type MemoryBank, selectRows } from '../scoring/memory-bank.js';
import { BankCandidates, type BuiltBank, buildBank, type CoresetMethod } from './bank-builder.js';
import { goldenBatch } from './golden.js';
import { ImageScorer } from './image-scorer.js';
import { modelCard } from './model-card.js';
import type { Encoder, FitImage, TrainingPlan, TrainingPreset, TrainingProgress } from './preset.js';
import { int8Form } from './quantize.js';

/** Largest score difference an engine may show on the golden batch (architecture.md: float32 engines). */
const GOLDEN_TOLERANCE = 1e-4;

/** Prototypes are most of a bundle and lose nothing that matters in half precision; weights stay float32. */
const STORAGE: StoragePrecision = { bank: 'F16' };

export interface BuildOptions {
  /** Where the bundle is written: the version's own folder. */
  readonly bundleDirectory: string;
  readonly name: string;
  readonly version: number;
  readonly description: string;
  /** Sentences of the user's for the card, such as source and terms of the data. */
  readonly notes: readonly string[];
  readonly preset: TrainingPreset;
  readonly plan: TrainingPlan;
  readonly seed: number;
  readonly engine: Engine;
  readonly bankRows?: number;
  readonly coreset: CoresetMethod;
  /** Fraction of rows dropped from the bank as outliers, in [0, 0.5). */
  readonly outlierFraction: number;
  /** What the model card shows; without paths that differ between two runs. */
  readonly command: string;
  readonly saladServe: string;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: TrainingProgress) => void;
  readonly encoder: Encoder;
  readonly fit: readonly FitImage[];
  readonly calibrationA: readonly FitImage[];
  readonly calibrationB: readonly FitImage[];
  /** Exact copies left out of fitting. */
  readonly duplicates: number;
  readonly patientTable: boolean;
  readonly dataSha256: string;
}

/** Runs all images through one model, in order. */
async function runAll(
  options: BuildOptions,
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

async function fitBank(options: BuildOptions, source: EngineModelSource): Promise<BuiltBank> {
  const { fit, plan } = options;
  let candidates: BankCandidates | undefined;
  await runAll(options, source, fit, 'embedding fit images', ({ embeddings, scored }, index) => {
    candidates ??= new BankCandidates(embeddings.length / scored.length, source.geometry.patchGrid);
    candidates.add(embeddings, scored, index);
  });
  if (!candidates || candidates.count === 0) {
    throw new SaladError(
      'TRAINING_DATA_INVALID',
      'no patch to remember: every tile of the fit images is background',
    );
  }
  return buildBank(
    candidates,
    fit.map((image) => image.patient),
    {
      bankRows: options.bankRows ?? plan.bankRows,
      coreset: options.coreset,
      outlierFraction: options.outlierFraction,
      seed: options.seed,
      ...(options.signal ? { signal: options.signal } : {}),
    },
  );
}

/**
 * Half A fixes where normal patch scores lie, cell by cell; half B what image scores normals then get
 * (salad.md section 8, "Calibration"). Neither half is in the bank.
 */
async function calibrate(options: BuildOptions, source: EngineModelSource): Promise<CalibrationTables> {
  const scoresOf = async (images: readonly FitImage[], stage: string): Promise<Float32Array[]> => {
    const collected: Float32Array[] = [];
    await runAll(options, source, images, stage, ({ scores }) => {
      collected.push(scores);
    });
    return collected;
  };
  const halfA = await scoresOf(options.calibrationA, 'calibrating patches');
  const halfB = await scoresOf(options.calibrationB, 'calibrating images');
  return calibrationTables(halfA, halfB, source.geometry, options.plan.scoring.aggregate);
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

function trainingNotes(options: BuildOptions, built: BuiltBank): string[] {
  return [
    ...options.notes,
    `${options.duplicates} exact ${options.duplicates === 1 ? 'duplicate was' : 'duplicates were'} left out.`,
    `Memory bank from ${built.candidates} patches: ${built.duplicates} duplicates and ${built.outliers} outliers ` +
      `(least like any other patient's patch of the same cell) left out, then ${options.coreset} thinning per cell.`,
    ...(options.patientTable
      ? []
      : ['No table of patients was given: every image counted as its own patient.']),
  ];
}

/** @throws SaladError TRAINING_DATA_INVALID where too little is left to score with; CANCELLED when aborted. */
export async function buildBundle(options: BuildOptions): Promise<Bundle> {
  const { plan, encoder } = options;
  const geometry = geometryOf(plan.input, plan.tiling);
  const weights = quantizeWeights(encoder.weights, STORAGE);
  const bare: EngineModelSource = { network: encoder.network, weights, geometry };
  const built = await fitBank(options, bare);
  const bank = storedBank(built.bank);
  const source: EngineModelSource = { ...bare, search: { bank, scoring: plan.scoring } };
  const calibration = await calibrate(options, source);
  const golden = await goldenBatch(options.engine, source, plan);
  const int8 = await int8Form(options.engine, { ...source, golden }, options.fit, options.signal);
  const manifest: BundleParts['manifest'] = {
    name: options.name,
    version: options.version,
    description: options.description,
    input: plan.input,
    tiling: plan.tiling,
    network: encoder.network,
    scoring: plan.scoring,
    calibration,
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
      sourceImages: options.fit.map((image) => image.id),
      notes: trainingNotes(options, built),
    },
    goldenTolerance: GOLDEN_TOLERANCE,
    ...(int8 === undefined ? {} : { int8 }),
  };
  const card = modelCard({
    manifest,
    bankSize: { rows: bank.rows, dimension: bank.dimension },
    calibrationImages: { a: options.calibrationA.length, b: options.calibrationB.length },
    duplicates: options.duplicates,
    patientTable: options.patientTable,
    bank: built,
    limits: plan.limits,
  });
  return writeBundle(options.bundleDirectory, {
    manifest,
    weights,
    bank,
    golden,
    modelCard: card,
    storage: STORAGE,
  });
}
