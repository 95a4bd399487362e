/** Formats the report on a data folder (what was used, what was left out and why) as lines of text and as JSON. */
import { relative } from 'node:path';
import type { DataReport } from './dataset.js';
import type { Excluded } from './files.js';

/** Most paths listed for one reason. */
const PATHS_LISTED_MAX = 3;

/** Files and folders left out for the same reason. */
interface ExcludedGroup {
  readonly reason: string;
  readonly files: number;
  /** The first paths, at most PATHS_LISTED_MAX. */
  readonly first: readonly string[];
}

function groupsOf(excluded: readonly Excluded[]): readonly ExcludedGroup[] {
  const groups = new Map<string, Excluded[]>();
  for (const each of excluded) {
    const group = groups.get(each.reason);
    if (group) group.push(each);
    else groups.set(each.reason, [each]);
  }
  return [...groups].map(([reason, members]) => ({
    reason,
    files: members.reduce((sum, { files }) => sum + files, 0),
    first: members.slice(0, PATHS_LISTED_MAX).map(({ path }) => path),
  }));
}

/** The report as one JSON value. */
export function dataReportJson({ directory, used, excluded, patients }: DataReport) {
  return { directory, taken: used, leftOut: groupsOf(excluded), patients };
}

const imageCount = (count: number): string => `${count} ${count === 1 ? 'image' : 'images'}`;

const MATCH_NAMES: Readonly<Record<keyof DataReport['patients']['matched'], string>> = {
  exactly: 'exactly',
  ignoringCaseAndSeparators: 'ignoring case and slashes',
  ignoringTheExtension: 'ignoring the extension',
  byFileNameAlone: 'by the file name alone',
};

function patientLine(
  { table, byDicom, count, matched, passedOver }: DataReport['patients'],
  images: number,
): string {
  const note =
    passedOver.length > 0
      ? ` (${passedOver.map(shortPath).join(', ')} has no columns of paths and patients)`
      : '';
  if (table === null && byDicom > 0) {
    const others = byDicom < images ? '; every other image is its own patient' : '';
    return `${count} patients, as named in the DICOM files of ${imageCount(byDicom)}${others}${note}`;
  }
  if (table === null) return `every image counts as its own patient: no table of patients${note}`;
  const ways = Object.entries(matched).map(
    ([way, n]) => `${n} ${MATCH_NAMES[way as keyof typeof MATCH_NAMES]}`,
  );
  return `${count} patients by ${shortPath(table)} (images matched: ${ways.join(', ')})${note}`;
}

/** The path relative to the working directory, where that is shorter. */
function shortPath(path: string): string {
  const relativePath = relative(process.cwd(), path);
  return relativePath !== '' && relativePath.length < path.length ? relativePath : path;
}

/** One line for every class, for every reason of leaving files out, and for the patients. */
export function dataReportLines({
  directory,
  images: total,
  used,
  excluded,
  patients,
}: DataReport): readonly string[] {
  return [
    `data: ${shortPath(directory)}`,
    ...used.map(({ folder, label, images }) => {
      const where = folder === '.' ? 'the folder itself' : `${folder}/`;
      return `  ${label === 'normal' ? 'normal' : `abnormal, class ${label}`}: ${imageCount(images)} of ${where}`;
    }),
    ...groupsOf(excluded).map(({ reason, files, first }) => {
      const more = files > first.length && first.every((path) => !path.endsWith('/')) ? ', ...' : '';
      return `  left out: ${files} ${files === 1 ? 'file' : 'files'} (${first.join(', ')}${more}): ${reason}`;
    }),
    `  patients: ${patientLine(patients, total)}`,
  ];
}
