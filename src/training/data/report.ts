/** The report on a data folder (what was used, what was left out and why), as lines of text and as JSON. */
import { relative } from 'node:path';
import type { DataReport } from './dataset.js';
import type { LeftOut } from './files.js';

/** Names that are shown of a group. */
const SHOWN = 3;

/** Files and folders that were left out for one reason. */
export interface LeftOutGroup {
  readonly reason: string;
  readonly files: number;
  /** The first few paths. */
  readonly first: readonly string[];
}

function groupsOf(leftOut: readonly LeftOut[]): readonly LeftOutGroup[] {
  const groups = new Map<string, LeftOut[]>();
  for (const each of leftOut) {
    const group = groups.get(each.reason);
    if (group) group.push(each);
    else groups.set(each.reason, [each]);
  }
  return [...groups].map(([reason, members]) => ({
    reason,
    files: members.reduce((sum, { files }) => sum + files, 0),
    first: members.slice(0, SHOWN).map(({ path }) => path),
  }));
}

/** The report as one JSON value. */
export function dataReportJson({ directory, taken, leftOut, patients }: DataReport) {
  return { directory, taken, leftOut: groupsOf(leftOut), patients };
}

const images = (count: number): string => `${count} ${count === 1 ? 'image' : 'images'}`;

const WAYS: Readonly<Record<keyof DataReport['patients']['matched'], string>> = {
  exactly: 'exactly',
  ignoringCaseAndSeparators: 'ignoring case and slashes',
  ignoringTheExtension: 'ignoring the extension',
  byFileNameAlone: 'by the file name alone',
};

function patientLine({ table, byDicom, count, matched, passedOver }: DataReport['patients']): string {
  const passed =
    passedOver.length > 0
      ? ` (${passedOver.map(short).join(', ')} has no columns of paths and patients)`
      : '';
  if (table === null && byDicom > 0) {
    return `${count} patients, as the DICOM files of ${images(byDicom)} name them; others count as their own${passed}`;
  }
  if (table === null) return `every image counts as its own patient: no table of patients${passed}`;
  const ways = Object.entries(matched).map(([way, n]) => `${n} ${WAYS[way as keyof typeof WAYS]}`);
  return `${count} patients by ${short(table)} (images matched: ${ways.join(', ')})${passed}`;
}

/** A path as seen from here, where that is shorter. */
function short(path: string): string {
  const below = relative(process.cwd(), path);
  return below !== '' && below.length < path.length ? below : path;
}

/** One line for each class, each kind of file that was left out, and the patients. */
export function dataReportLines({ directory, taken, leftOut, patients }: DataReport): readonly string[] {
  return [
    `data: ${short(directory)}`,
    ...taken.map(({ folder, label, images: count }) => {
      const where = folder === '.' ? 'the folder itself' : `${folder}/`;
      return `  ${label === 'normal' ? 'normal' : `abnormal, class ${label}`}: ${images(count)} of ${where}`;
    }),
    ...groupsOf(leftOut).map(({ reason, files, first }) => {
      const more = files > first.length && first.every((path) => !path.endsWith('/')) ? ', ...' : '';
      return `  left out: ${files} ${files === 1 ? 'file' : 'files'} (${first.join(', ')}${more}): ${reason}`;
    }),
    `  patients: ${patientLine(patients)}`,
  ];
}
