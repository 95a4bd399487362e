import { writeFile } from 'node:fs/promises';
import { type AcquisitionAggregate, Decision } from '../../../clients/typescript/src/index.js';
import { escapeHtml, htmlPage, htmlTable, pngImage } from '../../report/page.js';

export interface ScoreReportEntry {
  readonly file: string;
  readonly aggregate: AcquisitionAggregate;
  readonly latencyMs: number;
  /** PNG of the anomaly map over the image. */
  readonly overlay: Uint8Array | undefined;
}

/** Writes one HTML page: a summary table, then each image with its map and top patches, highest score first. */
export async function writeScoreReport(path: string, entries: readonly ScoreReportEntry[]): Promise<void> {
  const ranked = [...entries].sort((a, b) => b.aggregate.imageScore - a.aggregate.imageScore);
  const summary = htmlTable(
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
  );
  await writeFile(path, htmlPage('salad-serve: scores', summary + ranked.map(section).join('\n')));
}

function decisionName(aggregate: AcquisitionAggregate): string {
  return (Decision[aggregate.decision] ?? '').replace('DECISION_', '').toLowerCase();
}

function section({ file, aggregate, overlay }: ScoreReportEntry): string {
  const patches = htmlTable(
    [
      'patch (row, column)',
      'distance',
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
  const warnings = aggregate.warnings.map((warning) => `<p>${escapeHtml(warning.message)}</p>`).join('');
  const figure = overlay
    ? `<figure>${pngImage(overlay, `anomaly map of ${file}`, 384)}<figcaption>${escapeHtml(caption)}</figcaption></figure>`
    : `<p>${escapeHtml(caption)}</p>`;
  return `<h2>${escapeHtml(file)}</h2>${figure}${patches}${warnings}`;
}
