import { writeFile } from 'node:fs/promises';
import { escapeHtml, htmlPage, htmlTable, pngImage } from '../../report/page.js';
import {
  decisionName,
  type FailedImage,
  type ImageResult,
  isScored,
  type ScoredImage,
  summaryOf,
} from './score-results.js';

/** A scored image with the PNG of its anomaly map drawn over the image. */
type Reported = ScoredImage & { readonly overlay?: Uint8Array | undefined };

/**
 * Writes one HTML page: the failures, a summary table, then each image with its map and top patches, highest score
 * first.
 * @param total number of images to score; more than results after an interrupt
 */
export async function writeScoreReport(
  path: string,
  results: readonly (FailedImage | Reported)[],
  total = results.length,
): Promise<void> {
  const scored = results.filter((result) => isScored(result));
  const ranked = scored.sort((a, b) => b.aggregate.imageScore - a.aggregate.imageScore);
  const sections = [
    `<p>${escapeHtml(summaryOf(results, total))}</p>`,
    failureSection(results.filter((result) => !isScored(result))),
    ranked.length === 0 ? '' : summarySection(ranked),
    ...ranked.map(imageSection),
  ];
  await writeFile(path, htmlPage('salad-serve: scores', sections.join('\n')));
}

/** Comes first on the page, so that a reader does not take an image that was not scored for a normal one. */
function failureSection(failed: readonly ImageResult[]): string {
  if (failed.length === 0) return '';
  const rows = failed.map((result) => [result.file, isScored(result) ? '' : result.failure.message]);
  return `<h2>Not scored</h2>${htmlTable(['file', 'reason'], rows)}`;
}

function summarySection(ranked: readonly Reported[]): string {
  return `<h2>Scores</h2>${htmlTable(
    ['file', 'image score', 'threshold', 'p-value', 'decision', 'patches scored', 'ms'],
    ranked.map(({ file, aggregate, latencyMs }) => [
      file,
      aggregate.imageScore.toFixed(3),
      aggregate.threshold.toFixed(3),
      aggregate.pValue.toFixed(4),
      decisionName(aggregate),
      `${aggregate.coverage?.scored ?? 0}`,
      latencyMs.toFixed(0),
    ]),
  )}`;
}

function imageSection({ file, aggregate, overlay }: Reported): string {
  const patches = htmlTable(
    [
      'patch (row, column)',
      'patch score (distance)',
      'robust z',
      'p-value',
      'box in source pixels (top, left, bottom, right)',
    ],
    aggregate.topPatches.map((patch) => [
      `${patch.row}, ${patch.column}`,
      patch.score.toFixed(4),
      patch.robustZ.toFixed(2),
      patch.pValue.toFixed(4),
      patch.box
        ? [patch.box.top, patch.box.left, patch.box.bottom, patch.box.right]
            .map((v) => v.toFixed(0))
            .join(', ')
        : '',
    ]),
  );
  const caption = `${decisionName(aggregate)}, image score ${aggregate.imageScore.toFixed(3)} (threshold ${aggregate.threshold.toFixed(3)} at a false-positive rate of ${aggregate.maxFalsePositiveRate}); model ${aggregate.model?.name}@${aggregate.model?.version}, engine ${aggregate.engines.join(', ')}`;
  const warnings = aggregate.warnings
    .map((warning) => `<p>Warning: ${escapeHtml(warning.message)}</p>`)
    .join('');
  const figure = overlay
    ? `<figure>${pngImage(overlay, `anomaly map of ${file}`, 384)}<figcaption>${escapeHtml(caption)}</figcaption></figure>`
    : `<p>${escapeHtml(caption)}</p>`;
  return `<h2>${escapeHtml(file)}</h2>${figure}${patches}${warnings}`;
}
