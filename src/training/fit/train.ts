/** Trains a model: splits the data set, fits the encoder of the preset, and builds the bundle. */
import { rm } from 'node:fs/promises';
import type { Bundle } from '../../bundle/bundle.js';
import { SaladError } from '../../errors/index.js';
import { geometryOf } from '../../geometry/geometry.js';
import { imageCountWarnings } from '../../scoring/calibration-warnings.js';
import {
  type Dataset,
  type DatasetImage,
  dataHash,
  knowsPatients,
  NORMAL,
  withoutDuplicates,
} from '../data/dataset.js';
import { type PatientSplit, splitByPatient } from '../data/patient-split.js';
import { type RenderSpec, renderAll } from '../data/render.js';
import type { FitImage, TrainingPlan } from '../encoders/preset.js';
import { withAlignmentReference } from './alignment-reference.js';
import { type BuildOptions, buildBundle } from './bundle-builder.js';
import { checkpointDirectory } from './output-folder.js';
import { checkImageCount, checkTrainingSize } from './requirements.js';
import { STRATA_IMAGES_MIN } from './strata.js';

/** Options of the bundle, the data set and its split. */
export interface TrainOptions
  extends Pick<
    BuildOptions,
    | 'bundleDirectory'
    | 'name'
    | 'version'
    | 'description'
    | 'notes'
    | 'preset'
    | 'plan'
    | 'seed'
    | 'engine'
    | 'bankRows'
    | 'coreset'
    | 'outlierFraction'
    | 'thresholds'
    | 'command'
    | 'saladServe'
    | 'signal'
    | 'onProgress'
  > {
  /** Only its normal images are used. */
  readonly dataset: Dataset;
  /** Fraction of normal images held out for calibration, in (0, 1); null: the plan decides. */
  readonly validation: number | null;
  readonly resume: boolean;
  /** Allows fewer images than recommended, but not fewer than the search needs. */
  readonly force: boolean;
  /** Receives warnings about the thresholds of the result, before the work. */
  readonly onWarning: (warning: string) => void;
}

export interface TrainResult {
  readonly bundle: Bundle;
  readonly split: PatientSplit;
  readonly duplicates: number;
}

/** Default fraction of the normal images that calibrate, where calibration images are held out. */
const HELD_OUT_FRACTION = 0.2;

/** Holds images out where the plan or the user requires it; otherwise all images fit. */
function chooseSplit(images: readonly DatasetImage[], options: TrainOptions): PatientSplit {
  const { plan, seed, validation } = options;
  if (validation === null && plan.calibration === 'crossFitted') {
    return { fit: images, calibrationA: [], calibrationB: [] };
  }
  return splitByPatient(images, seed, validation ?? HELD_OUT_FRACTION);
}

/** Warnings about thresholds from the number of calibration images. */
function thresholdWarnings(
  { fit, calibrationB }: PatientSplit,
  { thresholds }: TrainOptions,
): readonly string[] {
  const images = calibrationB.length || fit.length;
  const count = images - Math.floor(thresholds.contamination * images);
  const isTooFewForStrata = thresholds.strata && count < STRATA_IMAGES_MIN;
  return [
    ...imageCountWarnings(count),
    ...(isTooFewForStrata
      ? [`--strata does nothing: ${STRATA_IMAGES_MIN} calibration normals are needed, there are ${count}`]
      : []),
  ];
}

async function renderImages(
  images: readonly DatasetImage[],
  spec: RenderSpec,
  stage: string,
  options: TrainOptions,
): Promise<FitImage[]> {
  const rendered: FitImage[] = [];
  for await (const { item, image } of renderAll(images, spec)) {
    if (options.signal.aborted) throw new SaladError('CANCELLED', 'training was interrupted');
    const { id, patient, view } = item;
    rendered.push({ id, patient, image, ...(view === undefined ? {} : { view }) });
    options.onProgress({ stage, step: rendered.length, total: images.length });
  }
  return rendered;
}

/** Adds the mean of the fit images to a plan that aligns. */
async function fitAlignment(fit: readonly DatasetImage[], options: TrainOptions): Promise<TrainingPlan> {
  const { plan } = options;
  if (!plan.align) return plan;
  return withAlignmentReference(
    await renderImages(fit, plan, 'reading images for their mean', options),
    plan,
  );
}

/**
 * Trains a model and writes its bundle.
 * @throws SaladError TRAINING_DATA_INVALID for data that cannot be used, CANCELLED when aborted (a learned
 *   preset has then written its checkpoint)
 */
export async function trainBundle(options: TrainOptions): Promise<TrainResult> {
  const { dataset, seed, engine, signal, onProgress } = options;
  const normals = dataset.images.filter(({ label }) => label === NORMAL);
  const images = withoutDuplicates(normals);
  checkImageCount(images.length, options.force);
  const split = chooseSplit(images, options);
  checkTrainingSize(split, options.plan, { bankRows: options.bankRows ?? options.plan.bankRows, seed });
  thresholdWarnings(split, options).forEach(options.onWarning);
  const plan = await fitAlignment(split.fit, options);
  const fit = await renderImages(split.fit, plan, 'reading fit images', options);
  const calibrationA = await renderImages(split.calibrationA, plan, 'reading half A', options);
  const calibrationB = await renderImages(split.calibrationB, plan, 'reading half B', options);
  const checkpoints = checkpointDirectory(options.bundleDirectory);
  const encoder = await plan.fitEncoder({
    images: fit,
    geometry: geometryOf(plan.input, plan.tiling),
    input: plan.input,
    tiling: plan.tiling,
    seed,
    engine,
    checkpointDirectory: checkpoints,
    resume: options.resume,
    signal,
    onProgress,
  });
  const duplicates = normals.length - images.length;
  const bundle = await buildBundle({
    ...options,
    plan,
    encoder,
    fit,
    calibrationA,
    calibrationB,
    duplicateCount: duplicates,
    hasPatientTable: knowsPatients(dataset),
    dataSha256: dataHash(normals),
    pixelHashes: images.map(({ pixelHash }) => pixelHash).sort(),
  });
  // After the bundle is written, because a later --resume must not continue a finished run.
  await rm(checkpoints, { recursive: true, force: true });
  return { bundle, split, duplicates };
}
