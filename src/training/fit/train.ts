/** The whole of training: data set, encoder by preset, then the common back half that makes a bundle. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bundle } from '../../bundle/bundle.js';
import { SaladError } from '../../errors/index.js';
import { geometryOf } from '../../geometry/geometry.js';
import {
  type DatasetImage,
  dataHash,
  loadDataset,
  NORMAL,
  type PatientSplit,
  splitByPatient,
  withoutDuplicates,
} from '../data/dataset.js';
import { type RenderSpec, renderAll } from '../data/image-scorer.js';
import type { FitImage, TrainingPlan } from '../encoders/preset.js';
import { alignedTo } from './alignment-reference.js';
import { type BuildOptions, buildBundle } from './bundle-builder.js';

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
  readonly dataDirectory: string;
  /** Fraction of normal images held out for calibration, in (0, 1); null leaves it to the plan. */
  readonly validation: number | null;
  readonly resume: boolean;
}

export interface TrainResult {
  readonly bundle: Bundle;
  readonly split: PatientSplit;
  readonly duplicates: number;
}

/** Part of the normals that calibrates where calibration is held out. */
const HELD_OUT = 0.2;

/** Checkpoints of a run that writes to this bundle folder. */
export function checkpointDirectory(bundleDirectory: string): string {
  return `${bundleDirectory.replace(/[/\\]+$/, '')}.checkpoint`;
}

/** Held out where the learned encoder or the user wants it (a fifth by default), else everything fits. */
function splitFor(images: readonly DatasetImage[], options: TrainOptions): PatientSplit {
  const { plan, seed, validation } = options;
  if (validation === null && plan.calibration === 'crossFitted') {
    return { fit: images, calibrationA: [], calibrationB: [] };
  }
  return splitByPatient(images, seed, validation ?? HELD_OUT);
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
  const { seed, engine, signal, onProgress } = options;
  const dataset = await loadDataset(options.dataDirectory, { labels: [NORMAL] });
  const images = withoutDuplicates(dataset.images);
  const split = splitFor(images, options);
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
  const duplicates = dataset.images.length - images.length;
  const bundle = await buildBundle({
    ...options,
    plan,
    encoder,
    fit,
    calibrationA,
    calibrationB,
    duplicates,
    patientTable: dataset.patientTable !== null,
    dataSha256: dataHash(dataset.images),
  });
  // The bundle is safely in place: a later --resume must not take up a finished run.
  await rm(checkpoints, { recursive: true, force: true });
  return { bundle, split, duplicates };
}

/** `DIR/<name>/<version>` of a models folder. */
export function versionDirectory(models: string, name: string, version: number): string {
  return join(models, name, String(version));
}
