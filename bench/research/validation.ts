/**
 * How settings are chosen: normals of some patients fit, normals of other patients are held out, and lesions drawn into
 * the held-out ones take the place of disease. Neither test images nor images with disease are used.
 */
import { join } from 'node:path';
import type { Engine } from '../../src/engines/engine.js';
import { geometryOf } from '../../src/geometry/geometry.js';
import type { DecodedImage } from '../../src/imaging/decode/decode.js';
import { aggregateImage, type ImageCalibration } from '../../src/scoring/calibration.js';
import { smoothedScores } from '../../src/scoring/patch-z.js';
import { ImageScorer } from '../../src/training/data/image-scorer.js';
import { renderDecoded } from '../../src/training/data/render.js';
import type { FitImage, TrainingPlan } from '../../src/training/encoders/preset.js';
import { flaggedShare } from '../../src/training/evaluate/figures.js';
import { auroc } from '../../src/training/evaluate/metrics.js';
import { withAlignmentReference } from '../../src/training/fit/alignment-reference.js';
import type { CoresetMethod } from '../../src/training/fit/bank-builder.js';
import { fitScoring } from '../../src/training/fit/scoring-fit.js';
import { DEFAULT_THRESHOLDS } from '../../src/training/fit/strata.js';
import { hashFraction } from '../../src/util/hash-random.js';
import { SYNTHETIC_LESIONS, type SyntheticLesion, withLesion, withNoise } from './synthetic-lesions.js';

export interface DecodedNormal {
  readonly id: string;
  readonly patient: string;
  readonly decoded: DecodedImage;
}

export interface ValidationSets {
  readonly fit: readonly DecodedNormal[];
  /** Of other patients than `fit`. */
  readonly heldOut: readonly DecodedNormal[];
}

export interface ValidationFigures {
  /** AUROC of held-out normals with one synthetic lesion against the same images without. */
  readonly lesions: Readonly<Record<SyntheticLesion, number>>;
  /** Mean over the lesions: what settings are ranked by. */
  readonly syn: number;
  /** Share of held-out normals flagged at 5 % and at 10 %; null where calibration is too small. */
  readonly flagged: { readonly '0.05': number | null; readonly '0.10': number | null };
  /** The same normals with 1 % of white noise: AUROC against themselves (0.5: no effect) and share flagged at 5 %. */
  readonly noise: { readonly auroc: number; readonly flagged: number | null };
  readonly bankRows: number;
  /** Of one core while nothing else runs; on a busy machine only good for ratios. */
  readonly milliseconds: { readonly fit: number; readonly perImage: number };
}

/** Splits by patient: about `share` of the patients are held out, and at most `limit` images fit. */
export function validationSets(
  normals: readonly DecodedNormal[],
  options: {
    readonly share: number;
    readonly fitLimit: number;
    readonly heldOutLimit: number;
    readonly seed: number;
  },
): ValidationSets {
  const keyed = normals
    .map((normal) => ({ normal, key: hashFraction(normal.patient, options.seed) }))
    .sort((a, b) => a.key - b.key || (a.normal.id < b.normal.id ? -1 : 1));
  const of = (wanted: boolean, limit: number): DecodedNormal[] =>
    keyed
      .filter(({ key }) => key < options.share === wanted)
      .slice(0, limit)
      .map(({ normal }) => normal);
  return { heldOut: of(true, options.heldOutLimit), fit: of(false, options.fitLimit) };
}

function render(normals: readonly DecodedNormal[], plan: TrainingPlan): FitImage[] {
  return normals.map(({ id, patient, decoded }) => ({ id, patient, image: renderDecoded(decoded, plan) }));
}

export interface ValidationOptions {
  readonly engine: Engine;
  readonly seed: number;
  readonly checkpointDirectory: string;
  readonly coreset?: CoresetMethod;
}

/** Image scores of the held-out normals, in their order, and the scores that they are compared with. */
interface Judged {
  readonly normal: readonly number[];
  readonly noisy: readonly number[];
  readonly lesions: Readonly<Record<SyntheticLesion, readonly number[]>>;
  readonly calibration: ImageCalibration;
  readonly bankRows: number;
  readonly milliseconds: ValidationFigures['milliseconds'];
}

/**
 * Fits plans on the fit images and scores the held-out ones, as they are and changed. Several plans are an ensemble: an
 * image's score is the mean of theirs, and it has no threshold of its own.
 */
export async function validatePlans(
  plans: readonly [TrainingPlan, ...TrainingPlan[]],
  sets: ValidationSets,
  options: ValidationOptions,
): Promise<ValidationFigures> {
  const members: Judged[] = [];
  for (const [index, plan] of plans.entries()) {
    const checkpointDirectory = join(options.checkpointDirectory, `${index}`);
    members.push(await judge(plan, sets, { ...options, checkpointDirectory }));
  }
  const sumOf = (of: (member: Judged) => number): number =>
    members.reduce((sum, member) => sum + of(member), 0);
  const mean = (of: (member: Judged) => readonly number[]): number[] =>
    of(members[0]!).map((_, image) => sumOf((member) => of(member)[image]!) / members.length);
  const [normal, noisy] = [mean((member) => member.normal), mean((member) => member.noisy)];
  const lesions = {} as Record<SyntheticLesion, number>;
  for (const kind of SYNTHETIC_LESIONS) {
    lesions[kind] = auroc(
      normal,
      mean((member) => member.lesions[kind]),
    );
  }
  const flagged = (scores: readonly number[], rate: number): number | null =>
    members.length > 1 ? null : flaggedShare(scores, members[0]!.calibration, rate);
  return {
    lesions,
    syn: Object.values(lesions).reduce((sum, value) => sum + value, 0) / SYNTHETIC_LESIONS.length,
    flagged: { '0.05': flagged(normal, 0.05), '0.10': flagged(normal, 0.1) },
    noise: { auroc: auroc(normal, noisy), flagged: flagged(noisy, 0.05) },
    bankRows: sumOf(({ bankRows }) => bankRows),
    milliseconds: {
      fit: sumOf(({ milliseconds }) => milliseconds.fit),
      perImage: sumOf(({ milliseconds }) => milliseconds.perImage),
    },
  };
}

async function judge(
  given: TrainingPlan,
  sets: ValidationSets,
  { engine, seed, checkpointDirectory, coreset = 'random' }: ValidationOptions,
): Promise<Judged> {
  const started = performance.now();
  const plan = given.align ? withAlignmentReference(render(sets.fit, given), given) : given;
  const geometry = geometryOf(plan.input, plan.tiling);
  const images = render(sets.fit, plan);
  const cut = plan.calibration === 'crossFitted' ? images.length : Math.round(0.8 * images.length);
  const middle = Math.round((cut + images.length) / 2);
  const fit = images.slice(0, cut);
  const common = { engine, seed, signal: new AbortController().signal, onProgress: () => undefined };
  const encoder = await plan.fitEncoder({
    ...common,
    images: fit,
    geometry,
    input: plan.input,
    tiling: plan.tiling,
    checkpointDirectory,
    resume: false,
  });
  const { source, built, calibration } = await fitScoring({
    ...common,
    plan,
    encoder,
    coreset,
    outlierFraction: 0.005,
    thresholds: DEFAULT_THRESHOLDS,
    fit,
    calibrationA: images.slice(cut, middle),
    calibrationB: images.slice(middle),
  });
  const fitted = performance.now();
  const scorer = await ImageScorer.open(engine, source);
  const scoresOf = async (
    change: (decoded: DecodedImage, seed: number) => DecodedImage,
  ): Promise<number[]> => {
    const scores: number[] = [];
    for (const { id, decoded } of sets.heldOut) {
      const image = renderDecoded(change(decoded, Math.floor(hashFraction(id, seed) * 2 ** 31)), plan);
      const model = { calibration, scoring: plan.scoring };
      const smoothed = smoothedScores(model, await scorer.run(image));
      scores.push(aggregateImage(smoothed, model, geometry).score);
    }
    return scores;
  };
  const normal = await scoresOf((decoded) => decoded);
  const perImage = (performance.now() - fitted) / normal.length;
  const noisy = await scoresOf((decoded, own) => withNoise(decoded, 0.01, own));
  const lesions = {} as Record<SyntheticLesion, number[]>;
  for (const kind of SYNTHETIC_LESIONS) {
    lesions[kind] = await scoresOf((decoded, own) => withLesion(decoded, kind, own));
  }
  await scorer.dispose();
  const milliseconds = { fit: fitted - started, perImage };
  return { normal, noisy, lesions, calibration, bankRows: built.bank.rows, milliseconds };
}
