/** Evaluates a bundle on labelled images: the separation of every class from normal, and the false-positive rates. */
import type { Bundle } from '../../bundle/bundle.js';
import type { Engine } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import type { Box } from '../../geometry/placement.js';
import { alignerOf } from '../../imaging/alignment.js';
import { patchSourceBox } from '../../imaging/patch-box.js';
import type { WorkingImage } from '../../imaging/working-image.js';
import { inPrecision, type Precision } from '../../network/precision.js';
import { rankedCells } from '../../scoring/aggregate.js';
import {
  aggregateImage,
  imagePValue,
  medianAndMad,
  minFalsePositiveRate,
  thresholdFor,
} from '../../scoring/calibration.js';
import { calibrationWarnings, DEFAULT_FALSE_POSITIVE_RATE } from '../../scoring/calibration-warnings.js';
import { smoothedScores } from '../../scoring/patch-z.js';
import { judgePlausibility } from '../../scoring/plausibility.js';
import { regionAround } from '../../scoring/region.js';
import { type Dataset, type DatasetImage, NORMAL } from '../data/dataset.js';
import { type ImagePatches, ImageScorer } from '../data/image-scorer.js';
import { type RenderedItem, renderAll } from '../data/render.js';
import { type OverlapCheck, TrainingOverlap } from '../data/training-overlap.js';
import { type BoxFigures, type BoxHit, boxHit, ImageBoxes } from './box-localisation.js';
import {
  type ClassFigures,
  classFigures,
  type EvaluatedImage,
  type NormalFigures,
  normalFigures,
} from './figures.js';
import { type FloorAurocs, measureFloors } from './floors.js';
import { LesionMasks, MaskLocalisation } from './localisation.js';
import { type RocPoint, rocPoints } from './metrics.js';
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
  readonly floors: FloorAurocs | null;
  readonly localAuroc: number | null;
  readonly localisation: Partial<BoxFigures> | null;
  readonly warnings: readonly string[];
  /** Images of the model's training or calibration; they are in no figure. */
  readonly trainingImages: {
    readonly count: number;
    readonly check: OverlapCheck;
    readonly first: readonly string[];
  };
  /** Numbers of images that the model finds to be none that it knows; they are in all figures. */
  readonly implausible: { readonly normal: number; readonly abnormal: number };
  /** Number of images without a scored patch (all background); they are in no figure. */
  readonly notScored: number;
  /** Throughput of decoding, tiles, engine and aggregate, one image after the other. */
  readonly imagesPerSecond: number;
}

/** One of the highest-scoring images, with pixels and robust z for the report. */
export interface TopImage extends EvaluatedImage {
  readonly pixels: Uint8Array;
  readonly patchZ: Float32Array;
}

export interface EvaluationDetail {
  readonly evaluation: Evaluation;
  readonly images: readonly EvaluatedImage[];
  readonly notScored: readonly DatasetImage[];
  readonly roc: Readonly<Record<string, readonly RocPoint[]>>;
  readonly top: readonly TopImage[];
}

export interface EvaluationOptions {
  readonly bundle: Bundle;
  readonly engine: Engine;
  readonly dataset: Dataset;
  /** @default float32 */
  readonly precision?: Precision;
  /** Number of highest-scoring images that are returned with pixels and robust z. @default 0 */
  readonly keepTop?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Most paths of training images that are listed. */
const PATHS_LISTED_MAX = 10;

/** Collects the results of one pass over the images. */
class EvaluationPass {
  readonly evaluated: EvaluatedImage[] = [];
  /** Highest score first. */
  readonly top: TopImage[] = [];
  /** By class; only classes with masks. */
  readonly localisation = new Map<string, MaskLocalisation>();
  readonly notScored: DatasetImage[] = [];
  readonly #options: EvaluationOptions;
  readonly #masks: LesionMasks;
  readonly #boxes: ImageBoxes;
  readonly #threshold: number;

  constructor(options: EvaluationOptions, boxes: ImageBoxes) {
    const { calibration } = options.bundle.manifest;
    this.#options = options;
    this.#masks = new LesionMasks(options.dataset.directory);
    this.#boxes = boxes;
    const rate = Math.max(DEFAULT_FALSE_POSITIVE_RATE, minFalsePositiveRate(calibration));
    this.#threshold = thresholdFor(calibration, rate);
  }

  async addImage({ item, image, decoded }: RenderedItem<DatasetImage>, patches: ImagePatches): Promise<void> {
    const { geometry, manifest } = this.#options.bundle;
    const { calibration } = manifest;
    const { patchZ, score } = aggregateImage(smoothedScores(manifest, patches), manifest, geometry);
    if (Number.isNaN(score)) {
      this.notScored.push(item);
      return;
    }
    const topBox = this.#topBox(image, patchZ);
    const hit = this.#boxHit(item, image, patchZ, topBox);
    const evaluated: EvaluatedImage = {
      id: item.id,
      label: item.label,
      patient: item.patient,
      score,
      pValue: imagePValue(calibration, score),
      decision: this.#isImplausible(image, patches)
        ? 'indeterminate'
        : score > this.#threshold
          ? 'anomalous'
          : 'normal',
      localScore: score - medianAndMad(patchZ.filter((z) => !Number.isNaN(z))).median,
      topBox,
      floors: measureFloors(decoded, item.bytes),
      ...(hit ? { boxHit: hit } : {}),
    };
    this.evaluated.push(evaluated);
    this.#keepTop({ ...evaluated, pixels: image.pixels, patchZ });
    await this.#addLocalisation(item, image, patchZ);
  }

  #isImplausible(image: WorkingImage, { embeddings }: ImagePatches): boolean {
    const { plausibility, geometry } = this.#options.bundle;
    if (plausibility === undefined) return false;
    const { reference } = plausibility.spec;
    const isNegative =
      reference !== undefined && alignerOf(reference).isNegative(image.pixels, geometry.workingSize);
    return isNegative || judgePlausibility(plausibility, embeddings, geometry.patchGrid) !== undefined;
  }

  async #addLocalisation(item: DatasetImage, image: WorkingImage, patchZ: Float32Array): Promise<void> {
    const mask = await this.#masks.find(item);
    if (!mask) return;
    const { geometry, manifest } = this.#options.bundle;
    const localisation =
      this.localisation.get(item.label) ?? new MaskLocalisation(geometry, manifest.scoring.aggregate);
    this.localisation.set(item.label, localisation);
    localisation.add(mask, image, patchZ);
  }

  #topBox(image: WorkingImage, patchZ: Float32Array): Box {
    const { geometry, manifest } = this.#options.bundle;
    const cell = rankedCells(patchZ, geometry, manifest.scoring.aggregate)[0]!;
    return patchSourceBox(image, Math.floor(cell / geometry.patchGrid), cell % geometry.patchGrid);
  }

  #boxHit(item: DatasetImage, image: WorkingImage, patchZ: Float32Array, topBox: Box): BoxHit | undefined {
    const boxes = this.#boxes.find(item);
    if (boxes === undefined) return undefined;
    const { geometry, manifest } = this.#options.bundle;
    const cell = rankedCells(patchZ, geometry, manifest.scoring.aggregate)[0]!;
    const { top, bottom, left, right } = regionAround(patchZ, geometry.patchGrid, cell);
    const corners = [patchSourceBox(image, top, left), patchSourceBox(image, bottom, right)] as const;
    const region = {
      top: Math.min(corners[0].top, corners[1].top),
      left: Math.min(corners[0].left, corners[1].left),
      bottom: Math.max(corners[0].bottom, corners[1].bottom),
      right: Math.max(corners[0].right, corners[1].right),
    };
    return boxHit(topBox, region, boxes, item);
  }

  #keepTop(image: TopImage): void {
    const limit = this.#options.keepTop ?? 0;
    const lowestKept = this.top.at(-1)?.score ?? Number.POSITIVE_INFINITY;
    if (this.top.length >= limit && !(image.score > lowestKept)) return;
    this.top.push(image);
    this.top.sort((a, b) => b.score - a.score);
    if (this.top.length > limit) this.top.pop();
  }
}

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
  return { evaluation, images: pass.evaluated, notScored: pass.notScored, roc, top: pass.top };
}
