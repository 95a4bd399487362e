/** Builds the final aggregate of an acquisition: image score, p-values, decision, coverage, anomaly map, warnings. */
import { ENGINE_NAMES, type EngineName } from '../engines/engine.js';
import { tilePositionOf } from '../geometry/tile-index.js';
import { alignerOf } from '../imaging/alignment/alignment.js';
import { isAtBound } from '../imaging/alignment/alignment-map.js';
import { type Emptiness, smallestSide } from '../imaging/content/image-content.js';
import { patchSourceBox, patchSourceCorners } from '../imaging/map/patch-box.js';
import { imageScore } from '../scoring/aggregate.js';
import { conformalPValue, imagePValue } from '../scoring/calibration.js';
import type { Implausible } from '../scoring/plausibility.js';
import { anomalyMapOf } from './map.js';
import type { AcquisitionOutcome } from './outcome.js';
import type {
  AcquisitionRequest,
  AcquisitionWarning,
  Aggregate,
  Coverage,
  Decision,
  ScoredPatch,
  ServedModel,
  TopPatch,
} from './types.js';

/**
 * Builds the aggregate after the last tile was scored or has failed. The anomaly map is computed only on request, because
 * it costs more than everything else here.
 * @param threshold of the image score
 */
export async function buildAggregate(
  model: ServedModel,
  request: AcquisitionRequest,
  outcome: AcquisitionOutcome,
  threshold: number,
): Promise<Aggregate> {
  const { manifest, geometry } = model;
  const score = imageScore(outcome.results.robustZ, geometry, manifest.scoring.aggregate);
  const coverage = coverageOf(model, outcome);
  const implausible = outcome.results.implausible ?? negativeOf(model, outcome);
  const { queueMs, computeMs, batchFill } = outcome.results.meanTimings();
  return {
    imageScore: score,
    pValue: Number.isNaN(score) ? Number.NaN : imagePValue(manifest.calibration, score),
    overallPValue: Number.isNaN(score)
      ? Number.NaN
      : conformalPValue(manifest.calibration.imageScores, score),
    calibrationImages: manifest.calibration.imageScores.length,
    decision: implausible ? 'indeterminate' : decide(score, threshold, coverage),
    threshold,
    maxFalsePositiveRate: request.options.maxFalsePositiveRate,
    coverage,
    topPatches: outcome.results.top(request.options.topPatches).map((patch) => withBox(outcome, patch)),
    anomalyMap: await anomalyMapOf(model, request, outcome, threshold),
    engines: [...outcome.results.engines],
    timings: { queueMs, computeMs, batchFill, totalMs: outcome.totalMs, firstScoreMs: outcome.firstScoreMs },
    warnings: warningsOf(request, outcome, { coverage, score, implausible }),
    search: model.search,
    precisions: [...outcome.results.precisions],
  };
}

/**
 * Decides on the whole image. An image score above the threshold is anomalous, whatever is missing. Incomplete coverage is
 * never reported as normal: it is indeterminate.
 */
export function decide(
  score: number,
  threshold: number,
  coverage: Pick<Coverage, 'scored' | 'failed' | 'missing'>,
): Decision {
  if (score > threshold) return 'anomalous';
  const complete = coverage.missing === 0 && coverage.failed === 0;
  return complete && coverage.scored > 0 && Number.isFinite(score) ? 'normal' : 'indeterminate';
}

function coverageOf(model: ServedModel, outcome: AcquisitionOutcome): Coverage {
  return {
    scored: outcome.results.scoredPatches,
    skipped: outcome.results.skippedPatches,
    failed: outcome.failedPatches,
    missing: outcome.missingTiles.length * model.geometry.patchesPerTile,
    missingTiles: outcome.missingTiles.map((tile) => tilePositionOf(model.geometry, tile)),
  };
}

function withBox({ image }: AcquisitionOutcome, patch: ScoredPatch): TopPatch {
  const { row, column } = patch;
  return {
    ...patch,
    box: patchSourceBox(image, row, column),
    corners: [...patchSourceCorners(image, row, column)],
  };
}

/** Engines after this one in the fallback order. A failback to an engine before it needs no warning. */
function enginesBelow(engine: EngineName): readonly EngineName[] {
  return ENGINE_NAMES.slice(ENGINE_NAMES.indexOf(engine) + 1);
}

/** Detects negatives for models without alignment. Models with alignment invert them before scoring. */
function negativeOf(
  { plausibility, geometry }: ServedModel,
  outcome: AcquisitionOutcome,
): 'negative' | undefined {
  const reference = plausibility?.spec.reference;
  if (reference === undefined || outcome.results.scoredPatches === 0) return undefined;
  return alignerOf(reference).isNegative(outcome.image.pixels, geometry.workingSize) ? 'negative' : undefined;
}

const IMPLAUSIBLE: Readonly<Record<Implausible, string>> = {
  unlike:
    'The image differs from the kind of images that the model was trained on: another part of the body, another view or no radiograph.',
  mirrored: 'The image looks mirrored: left and right are swapped.',
  negative: 'The image looks like the negative of the images that the model was trained on.',
};

/** Says which of the cases of an image without anything to score this one is. */
function emptyMessage(
  emptiness: Emptiness,
  { format: { rows, columns } }: AcquisitionRequest,
  { image, missingTiles }: AcquisitionOutcome,
): string {
  const least = smallestSide(image.geometry.workingSize);
  const subject = missingTiles.length > 0 ? 'What was sent of the image' : 'The image';
  const why = {
    tooSmall: `The image is too small: ${rows} x ${columns} pixels (rows x columns), at least ${least} each way are needed`,
    blank: `${subject} is blank: all pixels have the same value`,
    flat: `${subject} is flat: it holds nothing but noise or a smooth shade`,
  }[emptiness];
  return `${why}; no patch was scored.`;
}

interface WarningFacts {
  readonly coverage: Coverage;
  readonly score: number;
  readonly implausible: Implausible | undefined;
}

function warningsOf(
  request: AcquisitionRequest,
  outcome: AcquisitionOutcome,
  { coverage, score, implausible }: WarningFacts,
): readonly AcquisitionWarning[] {
  const warnings: AcquisitionWarning[] = [];
  const warn = (kind: AcquisitionWarning['kind'], message: string) => warnings.push({ kind, message });
  if (request.format.voi.kind === 'auto' && outcome.image.usesAutoWindow) {
    warn('autoWindow', 'The window was chosen from percentiles of the whole image.');
  }
  if (outcome.endedEarly) {
    warn('partial', `The stream ended early: ${coverage.missingTiles.length} tiles are missing.`);
  }
  if (coverage.failed > 0)
    warn('tilesFailed', `Patches could not be scored: ${outcome.failure ?? 'unknown'}`);
  const announced = outcome.announcedEngine;
  const lower = enginesBelow(announced).filter((engine) => outcome.results.engines.has(engine));
  if (lower.length > 0) {
    warn('engineFailover', `Engine ${announced} failed; ${lower.join(' and ')} scored instead.`);
  }
  if (outcome.image.alignment?.inverted) {
    warn(
      'inverted',
      'The image was the negative of the images that the model was trained on: its grey levels were inverted.',
    );
  }
  if (outcome.image.alignment && isAtBound(outcome.image.alignment.map)) {
    warn(
      'alignmentBound',
      'The alignment to the training images is at its limit: another field of view or position may raise the score.',
    );
  }
  if (implausible) warn('implausible', IMPLAUSIBLE[implausible]);
  if (outcome.image.emptiness !== undefined) {
    warn('nothingScored', emptyMessage(outcome.image.emptiness, request, outcome));
  } else if (coverage.scored === 0) {
    warn('nothingScored', 'No patch was scored.');
  } else if (Number.isNaN(score)) {
    warn('nothingScored', 'No patch that counts for the image score was scored.');
  }
  return warnings;
}
