/**
 * New thresholds for a bundle from normals of the site that uses it (docs/explanation/salad-method.md, section 8: "a new site needs
 * recalibration"). Encoder, memory bank and golden batch stay, byte for byte.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BUNDLE_FILES, type Bundle, writeBundle } from '../../bundle/bundle.js';
import type { Engine } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import type { CalibrationTables } from '../../geometry/specifications.js';
import { aggregateImage, fitImageTables, fitPatchTables } from '../../scoring/calibration.js';
import { asSentence, calibrationWarnings } from '../../scoring/calibration-warnings.js';
import { type Dataset, type DatasetImage, dataHash, NORMAL, withoutDuplicates } from '../data/dataset.js';
import { ImageScorer } from '../data/image-scorer.js';
import { splitByPatient } from '../data/patient-split.js';
import { renderAll } from '../data/render.js';
import { type OverlapCheck, TrainingOverlap } from '../data/training-overlap.js';
import { STORAGE } from '../fit/scoring-fit.js';
import { CHECKED_RATES, type CheckedRate, flaggedShare } from './figures.js';

/** Fewer cannot promise a false-positive rate of 5 %. */
const IMAGES_MIN = 19;
/** From here on half of the images re-fit the tables of the cells; with fewer those of the bundle stay. */
const REFIT_FROM = 200;

export interface RecalibrateOptions {
  readonly bundle: Bundle;
  readonly engine: Engine;
  /** Only its normal images are taken. */
  readonly dataset: Dataset;
  readonly bundleDirectory: string;
  readonly version: number;
  readonly seed: number;
  /** For the model card. */
  readonly command: string;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
}

export interface RecalibrateResult {
  readonly bundle: Bundle;
  readonly images: number;
  /** Images the bundle knows from its training, which were left out; their paths below the data folder. */
  readonly trainingImages: readonly string[];
  readonly overlapCheck: OverlapCheck;
  /** What the new thresholds cannot promise. */
  readonly warnings: readonly string[];
  readonly patchTables: 'kept' | 'refitted';
  /** Share of the images that the thresholds before would have flagged; null where they could promise no such rate. */
  readonly flaggedBefore: Readonly<Record<CheckedRate, number | null>>;
}

function tooFew(count: number, trainingImages: number): SaladError {
  if (count === 0 && trainingImages > 0) {
    return new SaladError(
      'TRAINING_DATA_INVALID',
      'the bundle was trained on these very images: it remembers them, so their scores say nothing about new ones. ' +
        'Give normals of other patients',
    );
  }
  const known = trainingImages > 0 ? ` (${trainingImages} more are images the bundle was trained on)` : '';
  return new SaladError(
    'TRAINING_DATA_INVALID',
    `${count} normal images${known}: at least ${IMAGES_MIN} are needed to promise a false-positive rate of 5 %`,
  );
}

/** Different normal images, and those of the training by their pixels. */
function sortOut({ bundle, dataset }: RecalibrateOptions, overlap: TrainingOverlap) {
  const normals = dataset.images.filter(({ label }) => label === NORMAL);
  const distinct = withoutDuplicates(normals);
  const known = distinct.filter((image) => overlap.hasPixels(image));
  if (dataHash(normals) === bundle.manifest.training.dataSha256) throw tooFew(0, distinct.length);
  const fresh = distinct.filter((image) => !known.includes(image));
  if (fresh.length < IMAGES_MIN) throw tooFew(fresh.length, known.length);
  return { known, fresh };
}

/** Patch scores of every image that is new to the bundle. */
async function patchScores(
  images: readonly DatasetImage[],
  overlap: TrainingOverlap,
  { bundle, engine, signal, onProgress }: RecalibrateOptions,
): Promise<ReadonlyMap<DatasetImage, Float32Array>> {
  let done = 0;
  const scores = new Map<DatasetImage, Float32Array>();
  const scorer = await ImageScorer.open(engine, bundle);
  try {
    for await (const { item, image } of renderAll(images, bundle.manifest)) {
      if (signal.aborted) throw new SaladError('CANCELLED', 'calibration was interrupted');
      const patches = await scorer.run(image);
      if (!overlap.hasPatches(patches)) scores.set(item, patches.scores);
      done += 1;
      onProgress(done, images.length);
    }
  } finally {
    await scorer.dispose();
  }
  return scores;
}

function newTables(
  images: readonly DatasetImage[],
  scores: ReadonlyMap<DatasetImage, Float32Array>,
  { bundle, seed }: RecalibrateOptions,
): { readonly calibration: CalibrationTables; readonly kept: boolean } {
  const { aggregate } = bundle.manifest.scoring;
  const of = (part: readonly DatasetImage[]): Float32Array[] => part.map((image) => scores.get(image)!);
  if (images.length < REFIT_FROM) {
    const { patchMedian, patchMad } = bundle.manifest.calibration;
    const tables = { patchMedian: [...patchMedian], patchMad: [...patchMad] };
    return { calibration: fitImageTables(tables, of(images), bundle.geometry, aggregate), kept: true };
  }
  const { fit, calibrationA, calibrationB } = splitByPatient(images, seed, 0.5);
  const tables = fitPatchTables(of(fit));
  const judged = of([...calibrationA, ...calibrationB]);
  return { calibration: fitImageTables(tables, judged, bundle.geometry, aggregate), kept: false };
}

function flaggedBefore(
  scores: Iterable<Float32Array>,
  { manifest, geometry }: Bundle,
): RecalibrateResult['flaggedBefore'] {
  const { calibration } = manifest;
  const judged = Array.from(
    scores,
    (each) => aggregateImage(each, calibration, geometry, manifest.scoring.aggregate).score,
  ).filter((score) => !Number.isNaN(score));
  const shares = CHECKED_RATES.map((rate) => [rate, flaggedShare(judged, calibration, Number(rate))]);
  return Object.fromEntries(shares) as RecalibrateResult['flaggedBefore'];
}

/**
 * Scores the normals with the bundle, takes new thresholds from them and writes the bundle under a new version.
 * @throws SaladError TRAINING_DATA_INVALID for too few images or those the bundle was trained on, BUNDLE_INVALID,
 *   CANCELLED
 */
export async function recalibrateBundle(options: RecalibrateOptions): Promise<RecalibrateResult> {
  const { bundle, version, command } = options;
  const { manifest } = bundle;
  const overlap = new TrainingOverlap(bundle, 'training');
  const { known, fresh } = sortOut(options, overlap);
  const scores = await patchScores(fresh, overlap, options);
  const images = [...scores.keys()];
  const trainingImages = [...known, ...fresh.filter((image) => !scores.has(image))]
    .map(({ id }) => id)
    .sort();
  if (images.length < IMAGES_MIN) throw tooFew(images.length, trainingImages.length);
  const { calibration, kept } = newTables(images, scores, options);
  const how = kept ? 'the tables of the cells stayed' : 'half of them re-fitted the tables of the cells';
  const sentence =
    `Version ${version}: thresholds from ${images.length} other normals (data hash ${dataHash(images)}), ` +
    `${calibration.imageScores.length} image scores; ${how}. ` +
    (trainingImages.length > 0
      ? `${trainingImages.length} images that version ${manifest.version} was trained on were left out. `
      : '') +
    `Encoder and memory bank are those of version ${manifest.version}.`;
  const warnings = calibrationWarnings(calibration);
  const sentences = [sentence, ...warnings.map(asSentence)];
  const card = await readFile(join(bundle.directory, BUNDLE_FILES.card), 'utf8');
  const { bank: _size, files: _files, schemaVersion: _schema, ...rest } = manifest;
  const written = await writeBundle(options.bundleDirectory, {
    manifest: {
      ...rest,
      version,
      calibration,
      training: {
        ...manifest.training,
        calibrationPixelHashes: [
          ...new Set([
            ...(manifest.training.calibrationPixelHashes ?? []),
            ...images.map(({ pixelHash }) => pixelHash),
          ]),
        ].sort(),
        notes: [...manifest.training.notes, ...sentences],
      },
    },
    weights: bundle.weights,
    bank: bundle.bank,
    golden: bundle.golden,
    storage: STORAGE,
    modelCard: `${card.replace(/^# .*/, `# ${manifest.name}, version ${version}`).trimEnd()}

## Recalibrated

    ${command}

${sentences.join(' ')}
What is said above of calibration, and every false-positive rate above, is of version ${manifest.version}.
`,
  });
  return {
    bundle: written,
    images: images.length,
    trainingImages,
    overlapCheck: overlap.check,
    warnings,
    patchTables: kept ? 'kept' : 'refitted',
    flaggedBefore: flaggedBefore(scores.values(), bundle),
  };
}
