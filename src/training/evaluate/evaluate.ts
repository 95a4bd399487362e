/** How a bundle does on labelled images: separation per class, and whether its thresholds keep their promise. */

import type { Bundle } from '../../bundle/bundle.js';
import type { Engine } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import { patchStart } from '../../geometry/geometry.js';
import type { Box } from '../../geometry/placement.js';
import type { WorkingImage } from '../../imaging/working-image.js';
import { inPrecision, type Precision } from '../../network/precision.js';
import { rankedCells } from '../../scoring/aggregate.js';
import { imagePValue, medianAndMad, minFalsePositiveRate, thresholdFor } from '../../scoring/calibration.js';
import { DEFAULT_FALSE_POSITIVE_RATE, promiseWarnings } from '../../scoring/calibration-promise.js';
import { type Dataset, type DatasetImage, NORMAL } from '../data/dataset.js';
import {
  type ImagePatches,
  ImageScorer,
  judgeImage,
  type RenderedItem,
  renderAll,
} from '../data/image-scorer.js';
import { type OverlapCheck, TrainingOverlap } from '../data/training-overlap.js';
import { type BoxFigures, type BoxHit, boxHit, ImageBoxes } from './box-localisation.js';
import {
  type ClassFigures,
  classFigures,
  type EvaluatedImage,
  type NormalFigures,
  normalFigures,
} from './figures.js';
import { type FloorAurocs, floorNumbers } from './floors.js';
import { LesionMasks, LocalisationTally } from './localisation.js';
import { type RocPoint, rocPoints } from './metrics.js';
import { evaluationWarnings } from './warnings.js';

export interface Evaluation {
  readonly model: string;
  readonly modelSha256: string;
  readonly engine: string;
  readonly precision: Precision;
  readonly normal: NormalFigures;
  readonly classes: Readonly<Record<string, ClassFigures>>;
  /** Every abnormal image, whatever its class; null where there is none. Its parts stand below once more. */
  readonly all: ClassFigures | null;
  readonly floors: FloorAurocs | null;
  readonly localAuroc: number | null;
  readonly localisation: Partial<BoxFigures> | null;
  readonly warnings: readonly string[];
  /** Images of the model's training or calibration: in no figure. */
  readonly trainingImages: {
    readonly count: number;
    readonly check: OverlapCheck;
    readonly first: readonly string[];
  };
  /** Images without a scored patch (all background): in no figure. */
  readonly notScored: number;
  /** Decoding, tiles, engine and aggregate, one image after the other. */
  readonly imagesPerSecond: number;
}

/** One of the highest-scoring images, kept for the report. */
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
  /** Highest-scoring images kept with pixels and map. */
  readonly keepTop?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Paths of training images that are shown. */
const SHOWN = 10;

/** The state of one pass over the images. */
class Pass {
  readonly judged: EvaluatedImage[] = [];
  readonly top: TopImage[] = [];
  readonly tallies = new Map<string, LocalisationTally>();
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

  async take({ item, image, decoded }: RenderedItem<DatasetImage>, { scores }: ImagePatches): Promise<void> {
    const { geometry, manifest } = this.#options.bundle;
    const { calibration, scoring } = manifest;
    const { patchZ, score } = judgeImage(scores, calibration, geometry, scoring.aggregate);
    if (Number.isNaN(score)) {
      this.notScored.push(item);
      return;
    }
    const topBox = this.#topBox(image, patchZ);
    const hit = this.#boxHit(item, topBox);
    const judged: EvaluatedImage = {
      id: item.id,
      label: item.label,
      patient: item.patient,
      score,
      pValue: imagePValue(calibration, score),
      decision: score > this.#threshold ? 'anomalous' : 'normal',
      localScore: score - medianAndMad(patchZ.filter((z) => !Number.isNaN(z))).median,
      topBox,
      floors: floorNumbers(decoded, item.bytes),
      ...(hit ? { boxHit: hit } : {}),
    };
    this.judged.push(judged);
    this.#keep({ ...judged, pixels: image.pixels, patchZ });
    await this.#tally(item, image, patchZ);
  }

  async #tally(item: DatasetImage, image: WorkingImage, patchZ: Float32Array): Promise<void> {
    const mask = await this.#masks.find(item);
    if (!mask) return;
    const { geometry, manifest } = this.#options.bundle;
    const tally = this.tallies.get(item.label) ?? new LocalisationTally(geometry, manifest.scoring.aggregate);
    this.tallies.set(item.label, tally);
    tally.add(mask, image, patchZ);
  }

  #topBox(image: WorkingImage, patchZ: Float32Array): Box {
    const { geometry, manifest } = this.#options.bundle;
    const cell = rankedCells(patchZ, geometry, manifest.scoring.aggregate)[0]!;
    const top = patchStart(geometry, Math.floor(cell / geometry.patchGrid));
    const left = patchStart(geometry, cell % geometry.patchGrid);
    return image.sourceBox(top, left, top + geometry.patchSize, left + geometry.patchSize);
  }

  #boxHit(item: DatasetImage, topBox: Box): BoxHit | undefined {
    const boxes = this.#boxes.find(item);
    return boxes && boxHit(topBox, boxes, item);
  }

  #keep(image: TopImage): void {
    const limit = this.#options.keepTop ?? 0;
    if (this.top.length >= limit && !(image.score > (this.top.at(-1)?.score ?? Number.POSITIVE_INFINITY)))
      return;
    this.top.push(image);
    this.top.sort((a, b) => b.score - a.score);
    if (this.top.length > limit) this.top.pop();
  }
}

/** @throws SaladError CONFIGURATION_INVALID: nobody may take figures of float32 for those of another. */
function checkPrecision(
  { engine, precision: asked = 'float32' }: EvaluationOptions,
  actual: Precision,
): void {
  if (actual === asked) return;
  const why = 'it needs the openvino engine and a processor with AVX512_BF16 or AMX';
  throw new SaladError(
    'CONFIGURATION_INVALID',
    `--precision ${asked}: ${why}; ${engine.info.name} runs this model in ${actual} (docs/explanation/engines.md)`,
  );
}

interface Scored {
  readonly pass: Pass;
  /** Images that the bundle knows from its training or calibration. */
  readonly known: readonly DatasetImage[];
  readonly boxes: ImageBoxes;
  readonly overlap: TrainingOverlap;
  readonly seconds: number;
  readonly precision: Precision;
}

async function scoreAll(options: EvaluationOptions): Promise<Scored> {
  const { bundle, engine, dataset, signal, onProgress, precision: asked = 'float32' } = options;
  const boxes = ImageBoxes.of(dataset);
  const overlap = new TrainingOverlap(bundle, 'all', asked === 'float32');
  const pass = new Pass(options, boxes);
  const known = dataset.images.filter((image) => overlap.hasPixels(image));
  const fresh = dataset.images.filter((image) => !overlap.hasPixels(image));
  const scorer = await ImageScorer.open(engine, inPrecision(bundle, asked));
  const { precision } = scorer;
  const started = performance.now();
  let done = 0;
  try {
    checkPrecision(options, precision);
    for await (const rendered of renderAll(fresh, bundle.manifest)) {
      if (signal?.aborted) throw new SaladError('CANCELLED', 'evaluation was interrupted');
      const patches = await scorer.run(rendered.image);
      if (overlap.hasPatches(patches)) known.push(rendered.item);
      else await pass.take(rendered, patches);
      done += 1;
      onProgress?.(done, fresh.length);
    }
  } finally {
    await scorer.dispose();
  }
  const seconds = (performance.now() - started) / 1000;
  return { pass, known, boxes, overlap, seconds, precision };
}

function noNormals(known: number): SaladError {
  const why = known > 0 ? `: ${known} images are of the model's own training` : '';
  return new SaladError('TRAINING_DATA_INVALID', `no normal image could be scored${why}`);
}

function dataWarnings({ known, boxes, overlap }: Scored, dataset: Dataset): string[] {
  const labels = new Map<string, Set<string>>();
  for (const { pixelHash, label } of dataset.images) {
    labels.set(pixelHash, (labels.get(pixelHash) ?? new Set()).add(label));
  }
  const mixed = [...labels.values()].filter((each) => each.size > 1).length;
  return [
    ...(known.length > 0
      ? [`${known.length} images the model was trained or calibrated on were left out of every figure`]
      : []),
    ...(overlap.check === 'none'
      ? [
          'the model keeps no hashes of its training images: nobody can tell whether some of these are among them',
        ]
      : []),
    ...(mixed > 0 ? [`${mixed} pictures lie in more than one class`] : []),
    ...(boxes.file !== null && boxes.size === 0 ? [`${boxes.file} has a box of none of these images`] : []),
  ];
}

/**
 * Scores every image and works out the figures.
 * @throws SaladError CONFIGURATION_INVALID where the precision is not to be had, TRAINING_DATA_INVALID where no normal
 *   image can be scored or boxes.tsv does not fit; CANCELLED when aborted.
 */
export async function evaluateBundle(options: EvaluationOptions): Promise<EvaluationDetail> {
  const { bundle, engine, dataset } = options;
  const scored = await scoreAll(options);
  const { pass, known, precision } = scored;
  const { name, version, calibration } = bundle.manifest;
  const ofLabel = (label: string): EvaluatedImage[] => pass.judged.filter((image) => image.label === label);
  const normal = ofLabel(NORMAL);
  if (normal.length === 0) throw noNormals(known.length);
  const classes: Record<string, ClassFigures> = {};
  const roc: Record<string, readonly RocPoint[]> = {};
  const scores = (images: readonly EvaluatedImage[]): number[] => images.map(({ score }) => score);
  for (const label of dataset.labels.filter((each) => each !== NORMAL)) {
    const abnormal = ofLabel(label);
    if (abnormal.length === 0) continue;
    classes[label] = classFigures(normal, abnormal, calibration, pass.tallies.get(label)?.figures());
    roc[label] = rocPoints(scores(normal), scores(abnormal));
  }
  const abnormal = pass.judged.filter(({ label }) => label !== NORMAL);
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
      ...promiseWarnings(calibration).map((warning) => `the model: ${warning}`),
      ...dataWarnings(scored, dataset),
    ],
    trainingImages: {
      count: known.length,
      check: scored.overlap.check,
      first: known.slice(0, SHOWN).map(({ id }) => id),
    },
    notScored: pass.notScored.length,
    imagesPerSecond: (pass.judged.length + pass.notScored.length) / scored.seconds,
  };
  return { evaluation, images: pass.judged, notScored: pass.notScored, roc, top: pass.top };
}
