/** How a bundle does on labelled images: separation per class, and whether its thresholds keep their promise. */

import type { Bundle } from '../../bundle/bundle.js';
import type { Engine } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import type { WorkingImage } from '../../imaging/working-image.js';
import { inPrecision, type Precision } from '../../network/precision.js';
import { type ImageCalibration, imagePValue, thresholdFor } from '../../scoring/calibration.js';
import { type Dataset, type DatasetImage, NORMAL } from '../data/dataset.js';
import { ImageScorer, judgeImage, renderAll } from '../data/image-scorer.js';
import { greyAndSharpness } from '../fit/strata.js';
import { LesionMasks, type LocalisationFigures, LocalisationTally } from './localisation.js';
import {
  auroc,
  aurocInterval,
  averagePrecision,
  fprAtTpr,
  type Interval,
  type RocPoint,
  rocPoints,
  wilsonInterval,
} from './metrics.js';

/** False-positive rates whose thresholds are checked. */
export const CHECKED_RATES = ['0.05', '0.10'] as const;
export type CheckedRate = (typeof CHECKED_RATES)[number];
type PerRate<T> = Readonly<Record<CheckedRate, T>>;

export interface EvaluatedImage {
  readonly id: string;
  readonly label: string;
  readonly score: number;
  readonly pValue: number;
}

export interface ClassFigures {
  readonly count: number;
  readonly auroc: number;
  readonly aurocCi95: Interval;
  readonly averagePrecision: number;
  readonly fprAt95Tpr: number;
  /** Fraction flagged at the threshold calibrated for that false-positive rate; null where out of reach. */
  readonly sensitivity: PerRate<number | null>;
  /** AUROC of one number per image, the better direction: a model near these has learned nothing more. */
  readonly shortcutAuroc: { readonly meanGrey: number; readonly sharpness: number };
  /** Only where lesion masks were found. */
  readonly localisation?: LocalisationFigures;
}

export interface Evaluation {
  readonly model: string;
  readonly modelSha256: string;
  readonly engine: string;
  readonly precision: Precision;
  readonly normal: {
    readonly count: number;
    readonly falsePositiveRate: PerRate<number | null>;
    readonly falsePositiveRateCi95: PerRate<Interval | null>;
  };
  readonly classes: Readonly<Record<string, ClassFigures>>;
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

interface Judged extends EvaluatedImage {
  readonly meanGrey: number;
  readonly sharpness: number;
}

const eitherDirection = (value: number): number => Math.max(value, 1 - value);

/** Fraction of scores above the threshold for a rate; null where the calibration set is too small for it. */
export function flaggedShare(
  scores: readonly number[],
  calibration: ImageCalibration,
  rate: number,
): number | null {
  try {
    const threshold = thresholdFor(calibration, rate);
    return scores.filter((score) => score > threshold).length / scores.length;
  } catch (error) {
    if (error instanceof SaladError && error.reason === 'FALSE_POSITIVE_RATE_UNREACHABLE') return null;
    throw error;
  }
}

function perRate<T>(of: (rate: CheckedRate) => T): PerRate<T> {
  return { '0.05': of('0.05'), '0.10': of('0.10') };
}

function classFigures(
  normal: readonly Judged[],
  abnormal: readonly Judged[],
  bundle: Bundle,
  localisation: LocalisationFigures | undefined,
): ClassFigures {
  const pick = (images: readonly Judged[], key: 'score' | 'meanGrey' | 'sharpness'): number[] =>
    images.map((image) => image[key]);
  const from = pick(normal, 'score');
  const to = pick(abnormal, 'score');
  const shortcut = (key: 'meanGrey' | 'sharpness'): number =>
    eitherDirection(auroc(pick(normal, key), pick(abnormal, key)));
  return {
    count: abnormal.length,
    auroc: auroc(from, to),
    aurocCi95: aurocInterval(from, to),
    averagePrecision: averagePrecision(from, to),
    fprAt95Tpr: fprAtTpr(from, to),
    sensitivity: perRate((rate) => flaggedShare(to, bundle.manifest.calibration, Number(rate))),
    shortcutAuroc: { meanGrey: shortcut('meanGrey'), sharpness: shortcut('sharpness') },
    ...(localisation ? { localisation } : {}),
  };
}

function normalFigures(scores: readonly number[], bundle: Bundle): Evaluation['normal'] {
  const falsePositiveRate = perRate((rate) =>
    flaggedShare(scores, bundle.manifest.calibration, Number(rate)),
  );
  const interval = (rate: CheckedRate): Interval | null => {
    const value = falsePositiveRate[rate];
    return value === null ? null : wilsonInterval(Math.round(value * scores.length), scores.length);
  };
  return { count: scores.length, falsePositiveRate, falsePositiveRateCi95: perRate(interval) };
}

/** The state of one pass over the images. */
class Pass {
  readonly judged: Judged[] = [];
  readonly top: TopImage[] = [];
  readonly tallies = new Map<string, LocalisationTally>();
  notScored = 0;
  readonly #options: EvaluationOptions;
  readonly #masks: LesionMasks;

  constructor(options: EvaluationOptions) {
    this.#options = options;
    this.#masks = new LesionMasks(options.dataset.directory);
  }

  async take(item: DatasetImage, image: WorkingImage, scores: Float32Array): Promise<void> {
    const { geometry, manifest } = this.#options.bundle;
    const { calibration, scoring } = manifest;
    const { patchZ, score } = judgeImage(scores, calibration, geometry, scoring.aggregate);
    if (Number.isNaN(score)) {
      this.notScored += 1;
      return;
    }
    const { id, label } = item;
    const judged = { id, label, score, pValue: imagePValue(calibration, score) };
    this.judged.push({ ...judged, ...greyAndSharpness(image.pixels, geometry.workingSize) });
    this.#keep({ ...judged, pixels: image.pixels, patchZ });
    const mask = await this.#masks.find(item);
    if (!mask) return;
    const tally = this.tallies.get(label) ?? new LocalisationTally(geometry, scoring.aggregate);
    this.tallies.set(label, tally);
    tally.add(mask, image, patchZ);
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
  { bundle, engine, precision: asked = 'float32' }: EvaluationOptions,
  actual: Precision,
): void {
  if (actual === asked) return;
  const { name, version, int8 } = bundle.manifest;
  const has =
    int8 === undefined ? `${name}@${version} has no int8 form` : 'it needs the openvino or onnx engine';
  const why = asked === 'int8' ? has : 'it needs the openvino engine and a processor with AVX512_BF16 or AMX';
  throw new SaladError(
    'CONFIGURATION_INVALID',
    `--precision ${asked}: ${why}; ${engine.info.name} runs this model in ${actual} (docs/engines.md)`,
  );
}

/** @throws SaladError CONFIGURATION_INVALID where the precision is not to be had, TRAINING_DATA_INVALID where no normal image can be scored; CANCELLED when aborted. */
export async function evaluateBundle(options: EvaluationOptions): Promise<EvaluationDetail> {
  const { bundle, engine, dataset } = options;
  const { images } = dataset;
  const pass = new Pass(options);
  const scorer = await ImageScorer.open(engine, inPrecision(bundle, options.precision ?? 'float32'));
  const { precision } = scorer;
  const started = performance.now();
  let done = 0;
  try {
    checkPrecision(options, precision);
    for await (const { item, image } of renderAll(images, bundle.manifest)) {
      if (options.signal?.aborted) throw new SaladError('CANCELLED', 'evaluation was interrupted');
      const { scores } = await scorer.run(image);
      await pass.take(item, image, scores);
      done += 1;
      options.onProgress?.(done, images.length);
    }
  } finally {
    await scorer.dispose();
  }
  const seconds = (performance.now() - started) / 1000;
  const ofLabel = (label: string): Judged[] => pass.judged.filter((image) => image.label === label);
  const normal = ofLabel(NORMAL);
  if (normal.length === 0) throw new SaladError('TRAINING_DATA_INVALID', 'no normal image could be scored');
  const normalScores = normal.map((image) => image.score);
  const classes: Record<string, ClassFigures> = {};
  const roc: Record<string, readonly RocPoint[]> = {};
  for (const label of dataset.labels.filter((each) => each !== NORMAL)) {
    const abnormal = ofLabel(label);
    if (abnormal.length === 0) continue;
    classes[label] = classFigures(normal, abnormal, bundle, pass.tallies.get(label)?.figures());
    roc[label] = rocPoints(
      normalScores,
      abnormal.map((image) => image.score),
    );
  }
  const { name, version } = bundle.manifest;
  const evaluation: Evaluation = {
    model: `${name}@${version}`,
    modelSha256: bundle.sha256,
    engine: engine.info.name,
    precision,
    normal: normalFigures(normalScores, bundle),
    classes,
    notScored: pass.notScored,
    imagesPerSecond: images.length / seconds,
  };
  return { evaluation, images: pass.judged, roc, top: pass.top };
}
