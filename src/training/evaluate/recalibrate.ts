/**
 * Recalibrates a bundle with normal images of the site that uses it (docs/explanation/salad-method.md, section 8).
 * Encoder, memory bank and golden batch are copied byte for byte.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BUNDLE_FILES, type Bundle, writeBundle } from '../../bundle/bundle.js';
import type { Engine } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import type { CalibrationTables } from '../../geometry/specifications.js';
import { aggregateImage, fitImageTables, fitViewTables } from '../../scoring/calibration.js';
import { asSentence, calibrationWarnings } from '../../scoring/calibration-warnings.js';
import { type SmoothedScores, smoothedScores } from '../../scoring/patch-z.js';
import { type Dataset, type DatasetImage, dataHash, NORMAL, withoutDuplicates } from '../data/dataset.js';
import { ImageScorer } from '../data/image-scorer.js';
import { splitByPatient } from '../data/patient-split.js';
import { renderAll } from '../data/render.js';
import { type OverlapCheck, TrainingOverlap } from '../data/training-overlap.js';
import { storageOf } from '../fit/scoring-fit.js';
import { CHECKED_RATES, type CheckedRate, flaggedShare } from './figures.js';

/** With fewer images a false-positive rate of 5 % cannot be guaranteed. */
const IMAGES_MIN = 19;
/** With at least this many images, half of them refit the tables of the cells; with fewer, the bundle's tables are kept. */
const REFIT_IMAGES_MIN = 200;
/** With fewer images of one view, the tables of both views are kept. */
const VIEW_IMAGES_MIN = 50;

export interface RecalibrateOptions {
  readonly bundle: Bundle;
  readonly engine: Engine;
  /** Only its normal images are used. */
  readonly dataset: Dataset;
  readonly bundleDirectory: string;
  readonly version: number;
  readonly seed: number;
  /** The command as the model card shows it. */
  readonly command: string;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
}

export interface RecalibrateResult {
  readonly bundle: Bundle;
  /** Number of images that calibrate. */
  readonly images: number;
  /** Paths, below the data folder, of images of the bundle's training; they were left out. */
  readonly trainingImages: readonly string[];
  readonly overlapCheck: OverlapCheck;
  /** Warnings about the new thresholds. */
  readonly warnings: readonly string[];
  readonly patchTables: 'kept' | 'refitted';
  /** Share of the images flagged by the previous thresholds; null where there was no threshold for the rate. */
  readonly flaggedBefore: Readonly<Record<CheckedRate, number | null>>;
}

function tooFewImages(count: number, trainingImageCount: number): SaladError {
  if (count === 0 && trainingImageCount > 0) {
    return new SaladError(
      'TRAINING_DATA_INVALID',
      'the bundle was trained on these images: they are in its memory bank, so their scores say nothing about new ones. ' +
        'Give normal images of other patients',
    );
  }
  const note =
    trainingImageCount > 0 ? ` (${trainingImageCount} more are images the bundle was trained on)` : '';
  return new SaladError(
    'TRAINING_DATA_INVALID',
    `${count} normal images${note}: at least ${IMAGES_MIN} are needed to guarantee a false-positive rate of 5 %`,
  );
}

/** Selects the different normal images, separated into those of the bundle's training (by pixel hash) and new ones. */
function selectImages({ bundle, dataset }: RecalibrateOptions, overlap: TrainingOverlap) {
  const normals = dataset.images.filter(({ label }) => label === NORMAL);
  const distinct = withoutDuplicates(normals);
  if (dataHash(normals) === bundle.manifest.training.dataSha256) throw tooFewImages(0, distinct.length);
  const trained = distinct.filter((image) => overlap.hasPixels(image));
  const newImages = distinct.filter((image) => !overlap.hasPixels(image));
  if (newImages.length < IMAGES_MIN) throw tooFewImages(newImages.length, trained.length);
  return { trained, newImages };
}

/** Scores the images; leaves out those whose patches are in the memory bank. */
async function scoreNewImages(
  images: readonly DatasetImage[],
  overlap: TrainingOverlap,
  { bundle, engine, signal, onProgress }: RecalibrateOptions,
): Promise<ReadonlyMap<DatasetImage, SmoothedScores>> {
  let done = 0;
  const scores = new Map<DatasetImage, SmoothedScores>();
  const scorer = await ImageScorer.open(engine, bundle);
  try {
    for await (const { item, image } of renderAll(images, bundle.manifest)) {
      if (signal.aborted) throw new SaladError('CANCELLED', 'calibration was interrupted');
      const patches = await scorer.run(image);
      if (!overlap.hasPatches(patches)) scores.set(item, smoothedScores(bundle.manifest, patches));
      done += 1;
      onProgress(done, images.length);
    }
  } finally {
    await scorer.dispose();
  }
  return scores;
}

/** Number of images of the rarer view. */
function smallestView(images: readonly SmoothedScores[]): number {
  const second = images.filter(({ secondView }) => secondView >= 0.5).length;
  return Math.min(second, images.length - second);
}

function fitNewTables(
  images: readonly DatasetImage[],
  scores: ReadonlyMap<DatasetImage, SmoothedScores>,
  { bundle, seed }: RecalibrateOptions,
): { readonly calibration: CalibrationTables; readonly areTablesKept: boolean } {
  const { scoring, calibration } = bundle.manifest;
  const { secondView } = calibration;
  const scoresOf = (subset: readonly DatasetImage[]): SmoothedScores[] =>
    subset.map((image) => scores.get(image)!);
  const { fit, calibrationA, calibrationB } = splitByPatient(images, seed, 0.5);
  const fitScores = scoresOf(fit);
  if (images.length < REFIT_IMAGES_MIN || (secondView && smallestView(fitScores) < VIEW_IMAGES_MIN)) {
    const { patchMedian, patchMad } = calibration;
    const tables = { patchMedian, patchMad, ...(secondView ? { secondView } : {}) };
    return {
      calibration: fitImageTables(tables, scoresOf(images), bundle.geometry, scoring),
      areTablesKept: true,
    };
  }
  const tables = fitViewTables(fitScores, secondView);
  const imageScores = scoresOf([...calibrationA, ...calibrationB]);
  return {
    calibration: fitImageTables(tables, imageScores, bundle.geometry, scoring),
    areTablesKept: false,
  };
}

function shareFlaggedBefore(
  scores: Iterable<SmoothedScores>,
  { manifest, geometry }: Bundle,
): RecalibrateResult['flaggedBefore'] {
  const { calibration } = manifest;
  const imageScores = Array.from(scores, (each) => aggregateImage(each, manifest, geometry).score).filter(
    (score) => !Number.isNaN(score),
  );
  const shares = CHECKED_RATES.map((rate) => [rate, flaggedShare(imageScores, calibration, Number(rate))]);
  return Object.fromEntries(shares) as RecalibrateResult['flaggedBefore'];
}

/** Sentences for the manifest's training notes and the model card. */
function recalibrationNotes(
  { bundle: { manifest }, version }: RecalibrateOptions,
  images: readonly DatasetImage[],
  trainingImageCount: number,
  calibration: CalibrationTables,
  areTablesKept: boolean,
): readonly string[] {
  const tables = areTablesKept
    ? 'the tables of the cells were kept'
    : 'half of them refitted the tables of the cells';
  const excludedNote =
    trainingImageCount > 0
      ? `${trainingImageCount} images that version ${manifest.version} was trained on were left out. `
      : '';
  return [
    `Version ${version}: thresholds from ${images.length} other normals (data hash ${dataHash(images)}), ` +
      `${calibration.imageScores.length} image scores; ${tables}. ${excludedNote}` +
      `Encoder and memory bank are those of version ${manifest.version}.`,
    ...calibrationWarnings(calibration).map(asSentence),
  ];
}

/** The model card of the bundle under its new version, with a section about the recalibration. */
async function recalibratedCard(
  { bundle, version, command }: RecalibrateOptions,
  notes: readonly string[],
): Promise<string> {
  const { name, version: previousVersion } = bundle.manifest;
  const card = await readFile(join(bundle.directory, BUNDLE_FILES.card), 'utf8');
  return `${card.replace(/^# .*/, `# ${name}, version ${version}`).trimEnd()}

## Recalibrated

    ${command}

${notes.join(' ')}
The calibration and every false-positive rate above are those of version ${previousVersion}.
`;
}

/**
 * Scores the normal images with the bundle, fits new thresholds to the scores and writes the bundle under a new version.
 * @throws SaladError TRAINING_DATA_INVALID for too few images or those the bundle was trained on, BUNDLE_INVALID,
 *   CANCELLED
 */
export async function recalibrateBundle(options: RecalibrateOptions): Promise<RecalibrateResult> {
  const { bundle, version } = options;
  const { bank: _bank, files: _files, schemaVersion: _schema, ...manifest } = bundle.manifest;
  const overlap = new TrainingOverlap(bundle, 'training');
  const { trained, newImages } = selectImages(options, overlap);
  const scores = await scoreNewImages(newImages, overlap, options);
  const images = [...scores.keys()];
  const trainingImages = [...trained, ...newImages.filter((image) => !scores.has(image))]
    .map(({ id }) => id)
    .sort();
  if (images.length < IMAGES_MIN) throw tooFewImages(images.length, trainingImages.length);
  const { calibration, areTablesKept } = fitNewTables(images, scores, options);
  const notes = recalibrationNotes(options, images, trainingImages.length, calibration, areTablesKept);
  const pixelHashes = new Set(manifest.training.calibrationPixelHashes);
  for (const { pixelHash } of images) pixelHashes.add(pixelHash);
  const training = {
    ...manifest.training,
    calibrationPixelHashes: [...pixelHashes].sort(),
    notes: [...manifest.training.notes, ...notes],
  };
  const written = await writeBundle(options.bundleDirectory, {
    manifest: { ...manifest, version, calibration, training },
    weights: bundle.weights,
    bank: bundle.bank,
    golden: bundle.golden,
    ...(bundle.plausibility ? { plausibility: bundle.plausibility.tensors } : {}),
    storage: storageOf(bundle.weights),
    modelCard: await recalibratedCard(options, notes),
  });
  return {
    bundle: written,
    images: images.length,
    trainingImages,
    overlapCheck: overlap.check,
    warnings: calibrationWarnings(calibration),
    patchTables: areTablesKept ? 'kept' : 'refitted',
    flaggedBefore: shareFlaggedBefore(scores.values(), bundle),
  };
}
