/** Formats the result of an image for `salad score`: a JSON line, a CSV line, a row of the table. */

import { type AcquisitionAggregate, Decision } from '../../../clients/typescript/src/index.js';
import { csvLine } from '../../util/csv.js';
import type { Failure } from '../shared/failure.js';
import { table } from '../shared/output.js';

/** A frame of a DICOM file. */
export interface DicomSource {
  /** From 1. */
  readonly frame: number;
  readonly frames: number;
  /** Present if the file has several frames: the common start of their acquisition ids. */
  readonly group?: string;
  /** How the file was interpreted where the standard leaves a choice. */
  readonly notes: readonly string[];
  /** Identification of the instance, only with --identify. */
  readonly sopInstanceUid?: string | null;
  readonly laterality?: string | null;
  readonly view?: string | null;
  readonly orientation?: string | null;
}

export interface ScoredImage {
  readonly file: string;
  readonly source?: DicomSource;
  readonly aggregate: AcquisitionAggregate;
  readonly latencyMs: number;
}

export interface FailedImage {
  readonly file: string;
  readonly source?: DicomSource;
  readonly failure: Failure;
}

export type ImageResult = ScoredImage | FailedImage;

export function isScored<T extends ScoredImage>(result: T | FailedImage): result is T {
  return 'aggregate' in result;
}

/** The name of a result in tables and messages: the file, and the frame if the file has several. */
export function labelOf({ file, source }: Pick<ImageResult, 'file' | 'source'>): string {
  return source === undefined || source.frames === 1
    ? file
    : `${file} frame ${source.frame}/${source.frames}`;
}

/** `normal`, `anomalous` or `indeterminate`. */
export function decisionName(aggregate: AcquisitionAggregate): string {
  return (Decision[aggregate.decision] ?? '').replace('DECISION_', '').toLowerCase();
}

/** The JSON line of a scored image. `anomalous` is null if the decision is indeterminate. */
export function aggregateJson({ file, source, aggregate, latencyMs }: ScoredImage): Record<string, unknown> {
  const { coverage, model, timings } = aggregate;
  return {
    event: 'aggregate',
    file,
    ...(source === undefined ? {} : { source }),
    acquisitionId: aggregate.acquisitionId,
    model: `${model?.name}@${model?.version}`,
    bundleSha256: model?.bundleSha256,
    engine: aggregate.engines[0] ?? null,
    engines: aggregate.engines,
    imageScore: aggregate.imageScore,
    pValue: aggregate.pValue,
    anomalous:
      aggregate.decision === Decision.DECISION_INDETERMINATE
        ? null
        : aggregate.decision === Decision.DECISION_ANOMALOUS,
    decision: decisionName(aggregate),
    threshold: aggregate.threshold,
    maxFalsePositiveRate: aggregate.maxFalsePositiveRate,
    coverage: {
      scored: coverage?.scored ?? 0,
      skipped: coverage?.skipped ?? 0,
      failed: coverage?.failed ?? 0,
      missing: coverage?.missing ?? 0,
    },
    topPatches: aggregate.topPatches,
    timings,
    warnings: warningsOf(aggregate),
    latencyMs,
  };
}

function warningsOf(aggregate: AcquisitionAggregate): readonly string[] {
  return aggregate.warnings.map((warning) => warning.message);
}

/** The warnings of the server, and the notes on how a DICOM file was interpreted. */
function remarksOf({ aggregate, source }: ScoredImage): string {
  return [...warningsOf(aggregate), ...(source?.notes ?? [])].join('; ');
}

/** Columns of `--csv`; `top` to `right` are the box of the highest-scoring patch in source pixels. */
const CSV_COLUMNS = [
  ...['file', 'model', 'imageScore', 'pValue', 'threshold', 'decision'],
  ...['scored', 'skipped', 'failed', 'missing', 'top', 'left', 'bottom', 'right'],
  ...['latencyMs', 'warnings', 'error'],
  ...['frame', 'sopInstanceUid', 'laterality', 'view'],
] as const;

/** The first line of a `--csv` file. */
export const CSV_HEADER = `${csvLine(CSV_COLUMNS)}\n`;

/** The CSV line of an image; if it failed, only `file`, `error` and the columns of DICOM files have values. */
export function csvOf(result: ImageResult): string {
  const source = sourceCells(result.source);
  if (!isScored(result)) {
    const blanks = CSV_COLUMNS.slice(1, -1 - source.length).map(() => '');
    return `${csvLine([result.file, ...blanks, result.failure.message, ...source])}\n`;
  }
  const { file, aggregate, latencyMs } = result;
  const { coverage, model } = aggregate;
  const box = aggregate.topPatches[0]?.box;
  const cells = [
    file,
    `${model?.name}@${model?.version}`,
    aggregate.imageScore,
    aggregate.pValue,
    aggregate.threshold,
    decisionName(aggregate),
    ...[coverage?.scored, coverage?.skipped, coverage?.failed, coverage?.missing],
    ...[box?.top, box?.left, box?.bottom, box?.right],
    latencyMs.toFixed(1),
    remarksOf(result),
    '',
    ...source,
  ];
  return `${csvLine(cells)}\n`;
}

/** The last columns of `--csv`: empty for other formats than DICOM; without --identify only the frame has a value. */
function sourceCells(source: DicomSource | undefined): readonly (string | number)[] {
  return [source?.frame ?? '', source?.sopInstanceUid ?? '', source?.laterality ?? '', source?.view ?? ''];
}

/** Names of what --identify adds, in the order of `instanceOf`. */
export const INSTANCE_COLUMNS = ['SOP Instance UID', 'laterality', 'view'] as const;

/** Whether results have the identification of instances: only with --identify, and of DICOM files. */
export function areIdentified(results: readonly Pick<ImageResult, 'source'>[]): boolean {
  return results.some(({ source }) => source?.sopInstanceUid !== undefined);
}

/** The identification of an instance; undefined for what the file does not name, or is no DICOM file. */
export function instanceOf(source: DicomSource | undefined): readonly (string | undefined)[] {
  return [source?.sopInstanceUid, source?.laterality, source?.view].map((value) => value || undefined);
}

/** The table of all images, one row each, failed images included. The warnings are last, because they are wrapped. */
export function scoreTable(results: readonly ImageResult[]): string {
  const hasInstances = areIdentified(results);
  return table(
    [
      ...['file', 'score', 'p-value', 'decision', 'patches', 'ms'],
      ...(hasInstances ? INSTANCE_COLUMNS : []),
      'warnings',
    ],
    results.map((result) => {
      const instance = hasInstances ? instanceOf(result.source).map((value) => value ?? '-') : [];
      if (!isScored(result)) {
        return [labelOf(result), '-', '-', 'failed', '-', '-', ...instance, result.failure.message];
      }
      const { aggregate, latencyMs } = result;
      return [
        labelOf(result),
        aggregate.imageScore.toFixed(3),
        aggregate.pValue.toFixed(4),
        decisionName(aggregate),
        patchCounts(aggregate),
        latencyMs.toFixed(0),
        ...instance,
        remarksOf(result),
      ];
    }),
  );
}

/** `225`, or `200, 25 failed` if patches failed or are missing. */
function patchCounts({ coverage }: AcquisitionAggregate): string {
  const unscored = [
    ...(coverage?.failed ? [`${coverage.failed} failed`] : []),
    ...(coverage?.missing ? [`${coverage.missing} missing`] : []),
  ];
  return [coverage?.scored ?? 0, ...unscored].join(', ');
}

/**
 * Such as `12 images: 9 normal, 2 anomalous, 1 failed`.
 * @param total number of images to score; more than results after an interrupt
 */
export function summaryOf(results: readonly ImageResult[], total: number): string {
  const counts = new Map<string, number>();
  for (const result of results) {
    const name = isScored(result) ? decisionName(result.aggregate) : 'failed';
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const notScored = total - results.length;
  const texts = [...counts].map(([name, count]) => `${count} ${name}`);
  return `${total} images: ${[...texts, ...(notScored > 0 ? [`${notScored} not scored`] : [])].join(', ')}`;
}

/**
 * The images without a result, in order: whole files, and frames of a file of which others have one. A file that is
 * given twice needs two results.
 */
export function notScored(
  files: readonly string[],
  results: readonly ImageResult[],
): readonly Pick<ImageResult, 'file' | 'source'>[] {
  const left = new Map<string, number>();
  const groups = new Map<string, ImageResult[]>();
  for (const result of results) {
    const group = result.source?.group;
    if (group !== undefined) groups.set(group, [...(groups.get(group) ?? []), result]);
    if ((result.source?.frame ?? 1) === 1) left.set(result.file, (left.get(result.file) ?? 0) + 1);
  }
  const wholeFiles = files.filter((file) => {
    const count = left.get(file) ?? 0;
    left.set(file, count - 1);
    return count <= 0;
  });
  const frames = [...groups.values()].flatMap(([first, ...others]) => {
    const { frames: count = 0 } = first?.source ?? {};
    const done = others.length + 1;
    return Array.from({ length: Math.max(0, count - done) }, (_, index) => ({
      file: first!.file,
      source: { frame: done + index + 1, frames: count, notes: [] },
    }));
  });
  return [...frames, ...wholeFiles.map((file) => ({ file }))];
}

/** The line of `--json` that summarises the frames of one file: `{"event":"group",...}`. */
export function groupJson(file: string, results: readonly ImageResult[]): Record<string, unknown> {
  const scored = results.filter((result) => isScored(result));
  const [highest] = [...scored].sort((a, b) => b.aggregate.imageScore - a.aggregate.imageScore);
  return {
    event: 'group',
    file,
    group: results[0]?.source?.group,
    frames: results[0]?.source?.frames,
    scored: scored.length,
    failed: results.length - scored.length,
    anomalous: scored.filter(({ aggregate }) => aggregate.decision === Decision.DECISION_ANOMALOUS).length,
    highest:
      highest === undefined
        ? null
        : { frame: highest.source?.frame, imageScore: highest.aggregate.imageScore },
  };
}
