/** Writes MODEL_CARD.md: how a bundle was made, from which data, its calibration, and its limits. */
import type { BundleDraft } from '../../bundle/bundle.js';
import { minFalsePositiveRate, quantileOfSorted } from '../../scoring/calibration.js';

export interface CardFacts {
  readonly manifest: BundleDraft['manifest'];
  readonly bankSize: { readonly rows: number; readonly dimension: number };
  readonly calibrationImages: { readonly a: number; readonly b: number };
  readonly duplicateCount: number;
  readonly hasPatientTable: boolean;
  readonly bank: { readonly candidates: number; readonly duplicates: number; readonly outliers: number };
  readonly limits: readonly string[];
}

function intensitySentence(manifest: CardFacts['manifest']): string {
  const { intensity } = manifest.input;
  return intensity.kind === 'window'
    ? "the header's window (streamable: patches are scored while rows arrive)"
    : `stretched from percentile ${intensity.low} to ${intensity.high} of the image (no score before the last row)`;
}

function calibrationRows({ a, b }: CardFacts['calibrationImages']): string {
  return b === 0
    ? '| calibrated on | all of them, each against a bank without its fold (a fifth of the patients) |'
    : `| held out, half A (patch calibration) | ${a} |\n| held out, half B (image calibration) | ${b} |`;
}

function zSentence({ blur, edgePenalty }: CardFacts['manifest']['scoring']): string {
  return [
    'robust z per cell',
    ...(blur === undefined ? [] : [`of scores smoothed by a Gaussian of ${blur} cells`]),
    ...(edgePenalty === undefined
      ? []
      : [`less ${edgePenalty} times the squared distance from the centre in half sides`]),
  ].join(', ');
}

export function modelCard(facts: CardFacts): string {
  const { manifest, calibrationImages, bank } = facts;
  const { input, tiling, scoring, training, calibration } = manifest;
  const cores = tiling.coresPerTile ?? 1;
  const scores = calibration.imageScores;
  const at = (probability: number): string => quantileOfSorted(scores, probability).toFixed(3);
  const lowestRate = `${(100 * minFalsePositiveRate(calibration)).toFixed(1)} %`;
  const notes = [...training.notes, ...facts.limits].map((note) => `- ${note}`).join('\n');
  return `# ${manifest.name}, version ${manifest.version}

${manifest.description}

Research software: the score ranks images and marks patches that differ from the normal ones it was fitted on. It is
not a diagnosis.

## How it was made

    ${training.command}

salad-serve ${training.saladServe}, preset \`${training.preset}\`, seed ${training.seed}, engine ${training.engine}. The same command on
the same files gives the same bytes. Data hash (SHA-256 over the sorted hashes of the files):
\`${training.dataSha256}\`.

| images | number |
| --- | --- |
| fit (encoder statistics, memory bank) | ${training.images.fit} |
${calibrationRows(calibrationImages)}
| exact duplicates left out | ${facts.duplicateCount} |

${calibrationImages.b === 0 ? 'Folds' : 'Split'} by ${facts.hasPatientTable ? 'patient' : 'image (no table of patients was given: patients with several images, if any, make the calibration too optimistic)'}.

## How it scores

Working image ${input.workingSize} x ${input.workingSize} (${input.fit}${input.alignment ? ', aligned to the mean training image' : ''}), intensity: ${intensitySentence(manifest)}. Orientation: ${input.orientation}.
Tiles of ${tiling.coreSize} x ${cores * tiling.coreSize} pixels with a halo of ${tiling.haloSize}, ${tiling.patchesPerSide} x ${cores * tiling.patchesPerSide} patches each (${tiling.patchSize} pixels, every ${tiling.patchStride}).

Memory bank: ${facts.bankSize.rows} rows of ${facts.bankSize.dimension} numbers, from ${bank.candidates} patches (${bank.duplicates} duplicates and ${bank.outliers}
outliers left out). Patch score: ${scoring.form} ${scoring.distance} distance to the ${scoring.neighbourCount} nearest prototypes${scoring.searchRadius === null ? '' : ` at most ${scoring.searchRadius} cells away`};
${zSentence(scoring)}; image score: mean of the highest ${100 * scoring.aggregate.topFraction} % of the cells, outer rings left out: ${scoring.aggregate.margin}.

## Calibration

Image scores of ${scores.length} normals that were not in the bank: median ${at(0.5)}, 90 % ${at(0.9)}, 95 % ${at(0.95)}, highest ${at(1)}.
The lowest false-positive rate they can guarantee is ${lowestRate}. The guarantee holds for images like these; another site,
device or age group needs its own calibration. \`salad evaluate --model … --data …\` measures the actual rate.

## Limits and notes

${notes}
`;
}
