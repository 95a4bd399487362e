/** Evaluates a bundle on labelled images: the separation of every class from normal, and the false-positive rates. */
import type { Engine } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import { inPrecision, type Precision } from '../../network/precision.js';
import { calibrationWarnings } from '../../scoring/calibration-warnings.js';
import { type Dataset, type DatasetImage, NORMAL } from '../data/dataset.js';
import { ImageScorer } from '../data/image-scorer.js';
import { renderAll } from '../data/render.js';
import { type OverlapCheck, TrainingOverlap } from '../data/training-overlap.js';
import type { BaselineAurocs } from './baselines.js';
import { type BoxFigures, ImageBoxes } from './box-localisation.js';
import { EvaluationPass, type PassOptions } from './evaluation-pass.js';
import {
  type ClassFigures,
  classFigures,
  type EvaluatedImage,
  type NormalFigures,
  normalFigures,
} from './figures.js';
import { type RocPoint, rocPoints } from './metrics.js';
import type { ReportPictures } from './report-pictures.js';
import { evaluationWarnings } from './warnings.js';

export interface Evaluation {
  readonly model: string;
  readonly modelSha256: string;
  readonly engine: string;
  readonly precision: Precision;
  readonly normal: NormalFigures;
  readonly classes: Readonly<Record<string, ClassFigures>>;
  /** Figures of all abnormal images together; null where there is none. */
  readonly all: ClassFigures | null;
  /** The fields of `all` with these names, repeated for programs that read them here. */
  readonly floors: BaselineAurocs | null;
  readonly localAuroc: number | null;
  readonly localisation: Partial<BoxFigures> | null;
  readonly warnings: readonly string[];
  /** Images of the model's training or calibration; they are in no figure. */
  readonly trainingImages: {
    readonly count: number;
    readonly check: OverlapCheck;
    readonly first: readonly string[];
  };
  /** Numbers of images that the plausibility gate rejects; they are in all figures. */
  readonly implausible: { readonly normal: number; readonly abnormal: number };
  /** Number of images without a scored patch (all background); they are in no figure. */
  readonly notScored: number;
  /** Throughput of decoding, tiles, engine and aggregate, one image after the other. */
  readonly imagesPerSecond: number;
}

export interface EvaluationDetail {
  readonly evaluation: Evaluation;
  readonly images: readonly EvaluatedImage[];
  readonly notScored: readonly DatasetImage[];
  readonly roc: Readonly<Record<string, readonly RocPoint[]>>;
  readonly pictures: ReportPictures;
}

export interface EvaluationOptions extends PassOptions {
  readonly engine: Engine;
  /** @default float32 */
  readonly precision?: Precision;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Most paths of training images that are listed. */
const PATHS_LISTED_MAX = 10;

/**
 * Checks that the engine runs the requested precision, so that figures are not reported for another one.
 * @throws SaladError CONFIGURATION_INVALID
 */
function checkPrecision(
  { engine, precision: requested = 'float32' }: EvaluationOptions,
  actual: Precision,
): void {
  if (actual === requested) return;
  const reason = 'it needs the openvino engine and a processor with AVX512_BF16 or AMX';
  throw new SaladError(
    'CONFIGURATION_INVALID',
    `--precision ${requested}: ${reason}; ${engine.info.name} runs this model in ${actual} (docs/explanation/engines.md)`,
  );
}

function countImplausible(images: readonly EvaluatedImage[]): Evaluation['implausible'] {
  const found = images.filter(({ decision }) => decision === 'indeterminate');
  const normal = found.filter(({ label }) => label === NORMAL).length;
  return { normal, abnormal: found.length - normal };
}

interface ScoredDataset {
  readonly pass: EvaluationPass;
  /** Images of the bundle's training or calibration. */
  readonly trainingImages: readonly DatasetImage[];
  readonly boxes: ImageBoxes;
  readonly overlap: TrainingOverlap;
  readonly seconds: number;
  readonly precision: Precision;
}

async function scoreDataset(options: EvaluationOptions): Promise<ScoredDataset> {
  const { bundle, engine, dataset, signal, onProgress, precision: requested = 'float32' } = options;
  const boxes = ImageBoxes.read(dataset);
  const overlap = new TrainingOverlap(bundle, 'all', requested === 'float32');
  const pass = new EvaluationPass(options, boxes);
  const trainingImages = dataset.images.filter((image) => overlap.hasPixels(image));
  const otherImages = dataset.images.filter((image) => !overlap.hasPixels(image));
  const scorer = await ImageScorer.open(engine, inPrecision(bundle, requested));
  const { precision } = scorer;
  const started = performance.now();
  let done = 0;
  try {
    checkPrecision(options, precision);
    for await (const rendered of renderAll(otherImages, bundle.manifest)) {
      if (signal?.aborted) throw new SaladError('CANCELLED', 'evaluation was interrupted');
      const patches = await scorer.run(rendered.image);
      if (overlap.hasPatches(patches)) trainingImages.push(rendered.item);
      else await pass.addImage(rendered, patches);
      done += 1;
      onProgress?.(done, otherImages.length);
    }
  } finally {
    await scorer.dispose();
  }
  const seconds = (performance.now() - started) / 1000;
  return { pass, trainingImages, boxes, overlap, seconds, precision };
}

function noNormalImages(trainingImageCount: number): SaladError {
  const reason =
    trainingImageCount > 0 ? `: ${trainingImageCount} images are of the model's own training` : '';
  return new SaladError('TRAINING_DATA_INVALID', `no normal image could be scored${reason}`);
}

function dataWarnings({ trainingImages, boxes, overlap }: ScoredDataset, dataset: Dataset): string[] {
  const labels = new Map<string, Set<string>>();
  for (const { pixelHash, label } of dataset.images) {
    labels.set(pixelHash, (labels.get(pixelHash) ?? new Set()).add(label));
  }
  const inSeveralClasses = [...labels.values()].filter((each) => each.size > 1).length;
  return [
    ...(trainingImages.length > 0
      ? [
          `${trainingImages.length} images the model was trained or calibrated on were left out of every figure`,
        ]
      : []),
    ...(overlap.check === 'none'
      ? [
          'the model has no hashes of its training images: it cannot be checked whether some of these images are among them',
        ]
      : []),
    ...(inSeveralClasses > 0 ? [`${inSeveralClasses} pictures are in more than one class`] : []),
    ...(boxes.file !== null && boxes.size === 0 ? [`${boxes.file} has no box for any of these images`] : []),
  ];
}

/**
 * Scores every image and computes the figures.
 * @throws SaladError CONFIGURATION_INVALID where the engine cannot run the precision, TRAINING_DATA_INVALID where no
 *   normal image can be scored or boxes.tsv is invalid; CANCELLED when aborted.
 */
export async function evaluateBundle(options: EvaluationOptions): Promise<EvaluationDetail> {
  const { bundle, engine, dataset } = options;
  const scored = await scoreDataset(options);
  const { pass, trainingImages, precision } = scored;
  const { name, version, calibration } = bundle.manifest;
  const ofLabel = (label: string): EvaluatedImage[] =>
    pass.evaluated.filter((image) => image.label === label);
  const normal = ofLabel(NORMAL);
  if (normal.length === 0) throw noNormalImages(trainingImages.length);
  const classes: Record<string, ClassFigures> = {};
  const roc: Record<string, readonly RocPoint[]> = {};
  const scores = (images: readonly EvaluatedImage[]): number[] => images.map(({ score }) => score);
  for (const label of dataset.labels.filter((each) => each !== NORMAL)) {
    const abnormal = ofLabel(label);
    if (abnormal.length === 0) continue;
    classes[label] = classFigures(normal, abnormal, calibration, pass.localisation.get(label)?.figures());
    roc[label] = rocPoints(scores(normal), scores(abnormal));
  }
  const abnormal = pass.evaluated.filter(({ label }) => label !== NORMAL);
  const all = abnormal.length > 0 ? classFigures(normal, abnormal, calibration, undefined) : null;
  const figures = normalFigures(normal, calibration);
  const evaluation: Evaluation = {
    model: `${name}@${version}`,
    modelSha256: bundle.sha256,
    engine: engine.info.name,
    precision,
    normal: figures,
    classes,
    all,
    floors: all?.floors ?? null,
    localAuroc: all?.localAuroc ?? null,
    localisation: all?.localisation ?? null,
    warnings: [
      ...evaluationWarnings(figures, classes, all),
      ...calibrationWarnings(calibration).map((warning) => `the model: ${warning}`),
      ...dataWarnings(scored, dataset),
    ],
    trainingImages: {
      count: trainingImages.length,
      check: scored.overlap.check,
      first: trainingImages.slice(0, PATHS_LISTED_MAX).map(({ id }) => id),
    },
    implausible: countImplausible(pass.evaluated),
    notScored: pass.notScored.length,
    imagesPerSecond: (pass.evaluated.length + pass.notScored.length) / scored.seconds,
  };
  return { evaluation, images: pass.evaluated, notScored: pass.notScored, roc, pictures: pass.pictures };
}
