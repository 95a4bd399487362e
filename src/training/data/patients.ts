/**
 * Reads the table of patients. It must give the patient of every image: a patient on two sides of a split makes every
 * figure too good without a visible sign.
 */
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { SaladError } from '../../errors/index.js';
import type { FoundImage } from './files.js';
import { type ColumnNames, readDataTable } from './table.js';

const COLUMNS: Readonly<Record<'path' | 'patient', ColumnNames>> = {
  path: ['path', 'file', 'filename', 'filepath', 'image', 'imagepath', 'imagename', 'imageindex', 'imageid'],
  patient: ['patient', 'patientid', 'subject', 'subjectid'],
};
/** In any case. `manifest.*` may be of something else: it counts only where it has both columns. */
const PATIENTS_FILE = /^patients\.(tsv|csv)$/i;
const MANIFEST_FILE = /^manifest\.(tsv|csv)$/i;
/** What a table of patients may have been saved as that cannot be read. */
const OTHER_PATIENTS_FILE = /^patients\.(txt|xlsx?|ods|json|numbers)$/i;
/** The data folder and so many above it. */
const LEVELS = 3;
/** Extensions that a table may have where an image has another one, or none. */
const EXTENSION = /\.(png|jpe?g|dcm|dicom|tiff?|bmp)$/i;
/** Images and reasons an error shows. */
const SHOWN = 5;

/** How a row of the table named an image, strictest first. */
const TOLERANCES = [
  'exactly',
  'ignoringCaseAndSeparators',
  'ignoringTheExtension',
  'byFileNameAlone',
] as const;
export type MatchedBy = (typeof TOLERANCES)[number];

export interface PatientMatches {
  readonly file: string;
  /** By the image's place among the images given. */
  readonly patients: readonly string[];
  /** Images matched in each way; ways that did not occur are left out. */
  readonly matched: Readonly<Partial<Record<MatchedBy, number>>>;
}

interface Row {
  readonly path: string;
  readonly patient: string;
}

interface FoundTable {
  readonly file: string;
  readonly rows: readonly Row[];
}

function invalid(message: string): SaladError {
  return new SaladError('TRAINING_DATA_INVALID', message);
}

const NO_TABLE = '--patients none takes every image for a patient of its own';

function readNamed(file: string): FoundTable {
  const found = readDataTable(file, COLUMNS);
  if ('table' in found) return found.table;
  throw invalid(
    `${file} is no table of patients: its first line must name the columns path (or file) and patient, ` +
      `separated by tabs, commas, semicolons or bars; it is "${found.header.slice(0, 80)}"; ${NO_TABLE}`,
  );
}

/** Names in a folder, in order; none where it cannot be listed, as folders above the data need not be. */
function filesOf(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

export interface PatientTableSearch {
  readonly table: FoundTable | null;
  /** Files of a fitting name that hold no patients. */
  readonly passedOver: readonly string[];
}

/**
 * `patients.*`, or `manifest.*` where it has both columns, in the folder or up to two above it.
 * @throws SaladError TRAINING_DATA_INVALID for a `patients.*` without the columns or of another format, or two of them
 *   in one folder
 */
export function findPatientTable(directory: string): PatientTableSearch {
  const passedOver: string[] = [];
  let folder = directory;
  for (let level = 0; level < LEVELS; level += 1) {
    const names = filesOf(folder);
    const paths = (pattern: RegExp): string[] =>
      names.filter((name) => pattern.test(name)).map((name) => join(folder, name));
    const named = paths(PATIENTS_FILE);
    if (named.length > 1) throw invalid(`${named.join(' and ')}: which one is the table of patients?`);
    if (named.length === 1) return { table: readNamed(named[0]!), passedOver };
    const [other] = paths(OTHER_PATIENTS_FILE);
    if (other !== undefined) {
      throw invalid(`${other} cannot be read as a table of patients: save it as patients.csv; ${NO_TABLE}`);
    }
    for (const file of paths(MANIFEST_FILE)) {
      const found = readDataTable(file, COLUMNS);
      if ('table' in found) return { table: found.table, passedOver };
      passedOver.push(file);
    }
    folder = dirname(folder);
  }
  return { table: null, passedOver };
}

/** The table a user named. @throws SaladError TRAINING_DATA_INVALID */
export function namedPatientTable(file: string): PatientTableSearch {
  return { table: readNamed(resolve(file)), passedOver: [] };
}

/** A path as a list of folders and the file name, made comparable. */
function normalised(path: string, tolerance: number): string[] {
  const text =
    tolerance === 0
      ? path
      : path
          .replace(/^['"]|['"]$/g, '')
          .replaceAll('\\', '/')
          .normalize('NFC')
          .toLowerCase();
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  if (tolerance < 2 || parts.length === 0) return parts;
  return [...parts.slice(0, -1), parts.at(-1)!.replace(EXTENSION, '')];
}

function commonEnd(a: readonly string[], b: readonly string[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a.at(-1 - length) === b.at(-1 - length)) length += 1;
  return length;
}

interface Target {
  /** Absolute path, part by part. */
  readonly full: readonly string[];
  /** How many of its last parts lie below the data folder. */
  readonly below: number;
}

interface ComparableRow extends Row {
  readonly parts: readonly string[];
}

interface Match {
  /** Distinct patients of the rows that name the image. */
  readonly patients: readonly string[];
  readonly byNameAlone: boolean;
}

function matchOf(rows: readonly ComparableRow[], byNameAlone: boolean): Match {
  return { patients: [...new Set(rows.map(({ patient }) => patient))], byNameAlone };
}

/** Rows and images under one tolerance. */
class Matcher {
  private readonly rowsByName = new Map<string, ComparableRow[]>();
  private readonly imagesByName = new Map<string, number>();

  constructor(rows: readonly Row[], targets: readonly Target[], tolerance: number) {
    for (const row of rows) {
      const parts = normalised(row.path, tolerance);
      const name = parts.at(-1);
      if (name === undefined) continue;
      const others = this.rowsByName.get(name);
      if (others) others.push({ ...row, parts });
      else this.rowsByName.set(name, [{ ...row, parts }]);
    }
    for (const { full } of targets) {
      const name = full.at(-1)!;
      this.imagesByName.set(name, (this.imagesByName.get(name) ?? 0) + 1);
    }
  }

  /** Rows whose folders agree with the image's, as far as both have them; a bare file name must be of one image only. */
  byPath({ full, below }: Target): Match {
    const ranked = this.rowsOf(full).map((row) => ({ ...row, common: commonEnd(row.parts, full) }));
    const agreeing = ranked.filter(({ parts, common }) =>
      common === parts.length ? common > 1 || this.isOnly(full) : common >= Math.max(2, below),
    );
    const longest = Math.max(0, ...agreeing.map(({ common }) => common));
    const best = agreeing.filter(({ common }) => common === longest);
    return matchOf(best, longest === 1 && below > 1);
  }

  /** Rows of the same file name in folders that are not here, where only one image has the name. */
  byName({ full }: Target, root: string): Match {
    if (!this.isOnly(full)) return matchOf([], true);
    // A row whose own file exists is of that file.
    return matchOf(
      this.rowsOf(full).filter(({ path }) => !existsSync(resolve(root, path))),
      true,
    );
  }

  private rowsOf(full: readonly string[]): readonly ComparableRow[] {
    return this.rowsByName.get(full.at(-1)!) ?? [];
  }

  private isOnly(full: readonly string[]): boolean {
    return this.imagesByName.get(full.at(-1)!) === 1;
  }
}

/** Patients found so far, and why some images have none. */
class Matches {
  readonly patients: (string | undefined)[];
  readonly problems = new Map<number, string>();
  readonly matched: Partial<Record<MatchedBy, number>> = {};

  constructor(count: number) {
    this.patients = new Array<string | undefined>(count);
  }

  take(index: number, { patients, byNameAlone }: Match, by: MatchedBy): void {
    if (patients.length === 0) return;
    if (patients.length > 1) {
      this.problems.set(index, `the table names the patients ${patients.slice(0, 3).join(', ')}`);
    } else if (patients[0] === '') this.problems.set(index, 'its patient is empty');
    else {
      this.patients[index] = patients[0]!;
      const way = byNameAlone ? 'byFileNameAlone' : by;
      this.matched[way] = (this.matched[way] ?? 0) + 1;
    }
  }

  isOpen(index: number): boolean {
    return this.patients[index] === undefined && !this.problems.has(index);
  }
}

/**
 * The patient of every image. A row may name an image by its path below the table's folder or the data folder, by an
 * absolute path, a longer path that ends alike, or its file name where only one image has it; case, `./`, slashes or
 * backslashes and the extension of an image may differ.
 * @throws SaladError TRAINING_DATA_INVALID naming the first images that the table does not know, or knows twice
 */
export function matchPatients(
  { file, rows }: FoundTable,
  directory: string,
  images: readonly FoundImage[],
): PatientMatches {
  const root = dirname(file);
  const found = new Matches(images.length);
  const passes = ([0, 1, 2] as const).map((tolerance) => {
    const targets = images.map(
      ({ parts }): Target => ({
        full: normalised(
          join(directory, ...parts)
            .split(sep)
            .join('/'),
          tolerance,
        ),
        below: parts.length,
      }),
    );
    return { by: TOLERANCES[tolerance], targets, matcher: new Matcher(rows, targets, tolerance) };
  });
  for (const way of ['byPath', 'byName'] as const) {
    for (const { by, targets, matcher } of passes) {
      targets.forEach((target, index) => {
        if (found.isOpen(index)) found.take(index, matcher[way](target, root), by);
      });
    }
  }
  checkComplete(found, images, file, rows);
  return { file, patients: found.patients as string[], matched: found.matched };
}

function checkComplete(
  { patients, problems }: Matches,
  images: readonly FoundImage[],
  file: string,
  rows: readonly Row[],
): void {
  const unknown = images.flatMap(({ parts }, index) =>
    patients[index] === undefined ? [`${parts.join('/')} (${problems.get(index) ?? 'not in it'})`] : [],
  );
  if (unknown.length === 0) return;
  const more = unknown.length > SHOWN ? ` and ${unknown.length - SHOWN} more` : '';
  throw invalid(
    `the table of patients ${file} does not give the patient of ${unknown.length} of ${images.length} images: ` +
      `${unknown.slice(0, SHOWN).join(', ')}${more}. The first of its ${rows.length} rows is of ` +
      `"${rows[0]?.path ?? ''}"; ${NO_TABLE}`,
  );
}
