/** Computes the figures of an evaluation from the evaluated images: per class, over all classes, and of the normals. */
import { SaladError } from '../../errors/index.js';
import type { Box } from '../../geometry/placement.js';
import { type ImageCalibration, thresholdFor } from '../../scoring/calibration.js';
import { type BaselineAurocs, type BaselineNumbers, baselineAurocs } from './baselines.js';
import { type BoxFigures, type BoxHit, boxFigures } from './box-localisation.js';
import type { LocalisationFigures } from './localisation.js';
import {
  auroc,
  aurocInterval,
  averagePrecision,
  clusteredShareInterval,
  fprAtTpr,
  type Interval,
  type PatientScore,
} from './metrics.js';

/** False-positive rates whose thresholds are checked. */
export const CHECKED_RATES = ['0.05', '0.10'] as const;
export type CheckedRate = (typeof CHECKED_RATES)[number];
export type PerRate<T> = Readonly<Record<CheckedRate, T>>;

export interface EvaluatedImage {
  readonly id: string;
  readonly label: string;
  readonly patient: string;
  readonly score: number;
  readonly pValue: number;
  /** At the default false-positive rate; indeterminate where the plausibility gate rejects the image. */
  readonly decision: 'normal' | 'anomalous' | 'indeterminate';
  /** The score minus the median robust z of the image's patches: how much one place differs from the others. */
  readonly localScore: number;
  /** Box of the patch with the highest robust z inside the margin, in pixels of the source image. */
  readonly topBox: Box;
  readonly floors: BaselineNumbers;
  /** Only for images with a radiologist's box. */
  readonly boxHit?: BoxHit;
}

export interface ClassFigures {
  readonly count: number;
  readonly patients: number;
  readonly auroc: number;
  readonly aurocCi95: Interval;
  readonly averagePrecision: number;
  readonly fprAt95Tpr: number;
  /** Fraction flagged at the threshold of that false-positive rate; null where the calibration set is too small for it. */
  readonly sensitivity: PerRate<number | null>;
  /** AUROC of numbers that do not measure disease. */
  readonly floors: BaselineAurocs;
  /** Two of the one-number baselines under their older names. */
  readonly shortcutAuroc: { readonly meanGrey: number; readonly sharpness: number };
  /** AUROC of `localScore`. */
  readonly localAuroc: number;
  readonly localAurocCi95: Interval;
  /** Only where there are lesion masks or boxes. */
  readonly localisation?: Partial<LocalisationFigures> & Partial<BoxFigures>;
}

export interface NormalFigures {
  readonly count: number;
  readonly patients: number;
  readonly falsePositiveRate: PerRate<number | null>;
  readonly falsePositiveRateCi95: PerRate<Interval | null>;
}

function perRate<T>(of: (rate: CheckedRate) => T): PerRate<T> {
  return { '0.05': of('0.05'), '0.10': of('0.10') };
}

function patientsOf(images: readonly EvaluatedImage[]): number {
  return new Set(images.map(({ patient }) => patient)).size;
}

/** The threshold of a false-positive rate; null where the calibration set is too small for it. */
export function reachableThreshold(calibration: ImageCalibration, rate: number): number | null {
  try {
    return thresholdFor(calibration, rate);
  } catch (error) {
    if (error instanceof SaladError && error.reason === 'FALSE_POSITIVE_RATE_UNREACHABLE') return null;
    throw error;
  }
}

/** Fraction of scores above the threshold of a false-positive rate; null where the calibration set is too small for it. */
export function flaggedShare(
  scores: readonly number[],
  calibration: ImageCalibration,
  rate: number,
): number | null {
  const threshold = reachableThreshold(calibration, rate);
  return threshold === null ? null : scores.filter((score) => score > threshold).length / scores.length;
}

/** Computes the figures of a class. @param masks figures from the lesion masks of these images, if there are any */
export function classFigures(
  normal: readonly EvaluatedImage[],
  abnormal: readonly EvaluatedImage[],
  calibration: ImageCalibration,
  masks: LocalisationFigures | undefined,
): ClassFigures {
  const scores = (images: readonly EvaluatedImage[]): number[] => images.map(({ score }) => score);
  const local = (images: readonly EvaluatedImage[]): PatientScore[] =>
    images.map(({ patient, localScore }) => ({ patient, score: localScore }));
  const [normalScores, abnormalScores] = [scores(normal), scores(abnormal)];
  const floors = baselineAurocs(normal, abnormal);
  const boxes = boxFigures(abnormal.flatMap(({ boxHit }) => boxHit ?? []));
  return {
    count: abnormal.length,
    patients: patientsOf(abnormal),
    auroc: auroc(normalScores, abnormalScores),
    aurocCi95: aurocInterval(normal, abnormal),
    averagePrecision: averagePrecision(normalScores, abnormalScores),
    fprAt95Tpr: fprAtTpr(normalScores, abnormalScores),
    sensitivity: perRate((rate) => flaggedShare(abnormalScores, calibration, Number(rate))),
    floors,
    shortcutAuroc: { meanGrey: floors.meanGrey, sharpness: floors.blurWhole },
    localAuroc: auroc(
      local(normal).map(({ score }) => score),
      local(abnormal).map(({ score }) => score),
    ),
    localAurocCi95: aurocInterval(local(normal), local(abnormal)),
    ...(masks || boxes ? { localisation: { ...masks, ...boxes } } : {}),
  };
}

export function normalFigures(
  normal: readonly EvaluatedImage[],
  calibration: ImageCalibration,
): NormalFigures {
  const scores = normal.map(({ score }) => score);
  return {
    count: normal.length,
    patients: patientsOf(normal),
    falsePositiveRate: perRate((rate) => flaggedShare(scores, calibration, Number(rate))),
    falsePositiveRateCi95: perRate((rate) => {
      const threshold = reachableThreshold(calibration, Number(rate));
      if (threshold === null) return null;
      return clusteredShareInterval(
        normal.map(({ patient, score }) => ({ patient, flagged: score > threshold })),
      );
    }),
  };
}
