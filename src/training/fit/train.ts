/** The whole of training: data set, encoder by preset, then the common back half that makes a bundle. */
import { rm } from 'node:fs/promises';
import type { Bundle } from '../../bundle/bundle.js';
import { SaladError } from '../../errors/index.js';
import { geometryOf } from '../../geometry/geometry.js';
import { calibrationWarnings } from '../../scoring/calibration-promise.js';
import {
  type Dataset,
  type DatasetImage,
  dataHash,
  knowsPatients,
  NORMAL,
  withoutDuplicates,
} from '../data/dataset.js';
import { type RenderSpec, renderAll } from '../data/image-scorer.js';
import { type PatientSplit, splitByPatient } from '../data/patient-split.js';
import type { FitImage, TrainingPlan } from '../encoders/preset.js';
import { alignedTo } from './alignment-reference.js';
import { type BuildOptions, buildBundle } from './bundle-builder.js';
import { checkpointDirectory } from './output-folder.js';
import { checkImageCount, checkTrainingSize } from './requirements.js';
import { STRATA_IMAGES_MIN } from './strata.js';

/** What a bundle is built with, plus where the data is and how it is split. */
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
  /** Only its normal images are taken. */
  readonly dataset: Dataset;
  /** Fraction of normal images held out for calibration, in (0, 1); null leaves it to the plan. */
  readonly validation: number | null;
  readonly resume: boolean;
  /** Trains on fewer images than can be recommended; never on fewer than the search needs. */
  readonly force: boolean;
  /** Told before the work what its result will not be able to promise. */
  readonly onWarning: (warning: string) => void;
}

export interface TrainResult {
  readonly bundle: Bundle;
  readonly split: PatientSplit;
  readonly duplicates: number;
}

/** Part of the normals that calibrates where calibration is held out. */
const HELD_OUT = 0.2;

/** Held out where the learned encoder or the user wants it (a fifth by default), else everything fits. */
function splitFor(images: readonly DatasetImage[], options: TrainOptions): PatientSplit {
  const { plan, seed, validation } = options;
  if (validation === null && plan.calibration === 'crossFitted') {
    return { fit: images, calibrationA: [], calibrationB: [] };
  }
  return splitByPatient(images, seed, validation ?? HELD_OUT);
}

/** What thresholds from so many images will not be able to promise. */
function calibrationWarningsOf(
  { fit, calibrationB }: PatientSplit,
  { thresholds }: TrainOptions,
): readonly string[] {
  const images = calibrationB.length || fit.length;
  const count = images - Math.floor(thresholds.contamination * images);
  const isTooFewForStrata = thresholds.strata && count < STRATA_IMAGES_MIN;
  return [
    ...calibrationWarnings(count),
    ...(isTooFewForStrata
      ? [`--strata does nothing: ${STRATA_IMAGES_MIN} calibration normals are needed, there are ${count}`]
      : []),
  ];
}

async function renderSet(
  images: readonly DatasetImage[],
  spec: RenderSpec,
  stage: string,
  options: TrainOptions,
): Promise<FitImage[]> {
  const rendered: FitImage[] = [];
  for await (const { item, image } of renderAll(images, spec)) {
    if (options.signal.aborted) throw new SaladError('CANCELLED', 'training was interrupted');
    rendered.push({ id: item.id, patient: item.patient, image });
    options.onProgress({ stage, step: rendered.length, total: images.length });
  }
  return rendered;
}

/** The plan with the mean of the fit images in it, where it aligns. */
async function alignedPlan(fit: readonly DatasetImage[], options: TrainOptions): Promise<TrainingPlan> {
  const { plan } = options;
  if (!plan.align) return plan;
  return alignedTo(await renderSet(fit, plan, 'reading images for their mean', options), plan);
}

/**
 * @throws SaladError TRAINING_DATA_INVALID for data that cannot be used, CANCELLED when aborted (a learned
 *   preset has then written its checkpoint).
 */
export async function trainBundle(options: TrainOptions): Promise<TrainResult> {
  const { dataset, seed, engine, signal, onProgress } = options;
  const normals = dataset.images.filter(({ label }) => label === NORMAL);
  const images = withoutDuplicates(normals);
  checkImageCount(images.length, options.force);
  const split = splitFor(images, options);
  checkTrainingSize(split, options.plan, { bankRows: options.bankRows ?? options.plan.bankRows, seed });
  calibrationWarningsOf(split, options).forEach(options.onWarning);
  const plan = await alignedPlan(split.fit, options);
  const fit = await renderSet(split.fit, plan, 'reading fit images', options);
  const calibrationA = await renderSet(split.calibrationA, plan, 'reading half A', options);
  const calibrationB = await renderSet(split.calibrationB, plan, 'reading half B', options);
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
    duplicates,
    patientTable: knowsPatients(dataset),
    dataSha256: dataHash(normals),
    pixelHashes: images.map(({ pixelHash }) => pixelHash).sort(),
  });
  // The bundle is safely in place: a later --resume must not take up a finished run.
  await rm(checkpoints, { recursive: true, force: true });
  return { bundle, split, duplicates };
}
