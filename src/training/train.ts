/** The whole of training: data set, encoder by preset, then the common back half that makes a bundle. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import type { Bundle } from '../model/bundle.js';
import { geometryOf } from '../model/geometry.js';
import type { CoresetMethod } from './bank-builder.js';
import { buildBundle } from './bundle-builder.js';
import {
  type DatasetImage,
  dataHash,
  loadDataset,
  NORMAL,
  type PatientSplit,
  splitByPatient,
  withoutDuplicates,
} from './dataset.js';
import { type RenderSpec, renderAll } from './image-scorer.js';
import type { FitImage, TrainingPlan, TrainingPreset, TrainingProgress } from './preset.js';

export interface TrainOptions {
  readonly dataDirectory: string;
  /** Where the bundle is written: the version's own folder. */
  readonly bundleDirectory: string;
  readonly name: string;
  readonly version: number;
  readonly description: string;
  readonly notes: readonly string[];
  readonly preset: TrainingPreset;
  readonly plan: TrainingPlan;
  readonly seed: number;
  readonly engine: Engine;
  readonly bankRows?: number;
  readonly coreset: CoresetMethod;
  /** Fraction of rows dropped from the bank as outliers, in [0, 0.5). */
  readonly outlierFraction: number;
  /** Fraction of normal images held out for calibration, in (0, 1). */
  readonly validation: number;
  readonly resume: boolean;
  /** What the model card shows; without paths that differ between two runs. */
  readonly command: string;
  readonly saladServe: string;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: TrainingProgress) => void;
}

export interface TrainResult {
  readonly bundle: Bundle;
  readonly split: PatientSplit;
  readonly duplicates: number;
}

/** Checkpoints of a run that writes to this bundle folder. */
export function checkpointDirectory(bundleDirectory: string): string {
  return `${bundleDirectory.replace(/[/\\]+$/, '')}.checkpoint`;
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

/**
 * @throws SaladError TRAINING_DATA_INVALID for data that cannot be used, CANCELLED when aborted (a learned
 *   preset has then written its checkpoint).
 */
export async function trainBundle(options: TrainOptions): Promise<TrainResult> {
  const { plan, seed, engine, signal, onProgress } = options;
  const dataset = await loadDataset(options.dataDirectory, { labels: [NORMAL] });
  const images = withoutDuplicates(dataset.images);
  const split = splitByPatient(images, seed, options.validation);
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
