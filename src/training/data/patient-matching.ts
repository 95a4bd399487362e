/** Matches the rows of a table of patients to images. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { SaladError } from '../../errors/index.js';
import type { FoundImage } from './files.js';
import { NO_TABLE_HINT, type PatientRow, type PatientTable } from './patient-table.js';

/** Extensions that are ignored where a row names the same image with another one or none. */
const EXTENSION = /\.(png|jpe?g|dcm|dicom|tiff?|bmp)$/i;
/** Most images that an error lists. */
const IMAGES_LISTED_MAX = 5;

/** The ways in which a row of the table can match an image, strictest first. */
const MATCH_WAYS = [
  'exactly',
  'ignoringCaseAndSeparators',
  'ignoringTheExtension',
  'byFileNameAlone',
] as const;
export type MatchedBy = (typeof MATCH_WAYS)[number];

interface PatientMatches {
  /** Patient of every image, in the order of the images. */
  readonly patients: readonly string[];
  /** Number of images matched in each way; ways that did not occur are absent. */
  readonly matched: Readonly<Partial<Record<MatchedBy, number>>>;
}

/**
 * How paths are compared, as an index of MATCH_WAYS: 0 exactly, 1 without regard to case, quotes and separators,
 * 2 also without the extension.
 */
type Tolerance = 0 | 1 | 2;

/** Splits a path into folders and file name, normalised for comparison. */
function normalisedParts(path: string, tolerance: Tolerance): string[] {
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

/** Number of equal elements at the end of both lists. */
function commonSuffixLength(a: readonly string[], b: readonly string[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a.at(-1 - length) === b.at(-1 - length)) length += 1;
  return length;
}

/** The path of an image under one tolerance. */
interface ComparableImage {
  /** Parts of the absolute path. */
  readonly parts: readonly string[];
  /** Number of parts below the data folder. */
  readonly depth: number;
}

interface ComparableRow extends PatientRow {
  readonly parts: readonly string[];
}

interface Match {
  /** Distinct patients of the rows that match the image. */
  readonly patients: readonly string[];
  readonly isByNameAlone: boolean;
}

function matchOf(rows: readonly ComparableRow[], isByNameAlone: boolean): Match {
  return { patients: [...new Set(rows.map(({ patient }) => patient))], isByNameAlone };
}

/** Compares rows and images under one tolerance. */
class Matcher {
  private readonly rowsByName = new Map<string, ComparableRow[]>();
  private readonly imageCountByName = new Map<string, number>();

  constructor(rows: readonly PatientRow[], images: readonly ComparableImage[], tolerance: Tolerance) {
    for (const row of rows) {
      const parts = normalisedParts(row.path, tolerance);
      const name = parts.at(-1);
      if (name === undefined) continue;
      const others = this.rowsByName.get(name);
      if (others) others.push({ ...row, parts });
      else this.rowsByName.set(name, [{ ...row, parts }]);
    }
    for (const { parts } of images) {
      const name = parts.at(-1)!;
      this.imageCountByName.set(name, (this.imageCountByName.get(name) ?? 0) + 1);
    }
  }

  /**
   * Matches the rows that share the longest end of their path with the image's path. The whole row must agree, or as
   * many parts as the image has below the data folder. A row without folders matches only where one image has its name.
   */
  byPath(image: ComparableImage): Match {
    const ranked = this.rowsNamedLike(image).map((row) => ({
      ...row,
      common: commonSuffixLength(row.parts, image.parts),
    }));
    const agreeing = ranked.filter(({ parts, common }) =>
      common === parts.length ? common > 1 || this.hasUniqueName(image) : common >= Math.max(2, image.depth),
    );
    const longest = Math.max(0, ...agreeing.map(({ common }) => common));
    const best = agreeing.filter(({ common }) => common === longest);
    return matchOf(best, longest === 1 && image.depth > 1);
  }

  /** Matches rows with the same file name in other folders, where only one image has the name. */
  byName(image: ComparableImage, tableFolder: string): Match {
    if (!this.hasUniqueName(image)) return matchOf([], true);
    // A row whose path exists as a file describes that file, not this image.
    return matchOf(
      this.rowsNamedLike(image).filter(({ path }) => !existsSync(resolve(tableFolder, path))),
      true,
    );
  }

  private rowsNamedLike({ parts }: ComparableImage): readonly ComparableRow[] {
    return this.rowsByName.get(parts.at(-1)!) ?? [];
  }

  private hasUniqueName({ parts }: ComparableImage): boolean {
    return this.imageCountByName.get(parts.at(-1)!) === 1;
  }
}

/** Collects the patients of the images, and the reasons why some images have none. */
class MatchResults {
  readonly patients: (string | undefined)[];
  readonly problems = new Map<number, string>();
  readonly matched: Partial<Record<MatchedBy, number>> = {};

  constructor(imageCount: number) {
    this.patients = new Array<string | undefined>(imageCount);
  }

  record(index: number, { patients, isByNameAlone }: Match, way: MatchedBy): void {
    if (patients.length === 0) return;
    if (patients.length > 1) {
      this.problems.set(index, `the table names the patients ${patients.slice(0, 3).join(', ')}`);
    } else if (patients[0] === '') this.problems.set(index, 'its patient is empty');
    else {
      this.patients[index] = patients[0]!;
      const actualWay = isByNameAlone ? 'byFileNameAlone' : way;
      this.matched[actualWay] = (this.matched[actualWay] ?? 0) + 1;
    }
  }

  isUndecided(index: number): boolean {
    return this.patients[index] === undefined && !this.problems.has(index);
  }
}

/**
 * Finds the patient of every image. A row may name an image by its path below the table's folder or the data folder, by
 * an absolute path, by a longer path with the same end, or by its file name where only one image has it. Case, `./`,
 * slashes or backslashes and the extension of an image may differ. Stricter ways are tried first.
 * @throws SaladError TRAINING_DATA_INVALID naming the first images that no row, or rows of two patients, match
 */
export function matchPatients(
  { file, rows }: PatientTable,
  directory: string,
  images: readonly FoundImage[],
): PatientMatches {
  const tableFolder = dirname(file);
  const results = new MatchResults(images.length);
  const passes = ([0, 1, 2] as const).map((tolerance) => {
    const comparableImages = images.map(
      ({ parts }): ComparableImage => ({
        parts: normalisedParts(
          join(directory, ...parts)
            .split(sep)
            .join('/'),
          tolerance,
        ),
        depth: parts.length,
      }),
    );
    const matcher = new Matcher(rows, comparableImages, tolerance);
    return { way: MATCH_WAYS[tolerance], comparableImages, matcher };
  });
  for (const method of ['byPath', 'byName'] as const) {
    for (const { way, comparableImages, matcher } of passes) {
      comparableImages.forEach((image, index) => {
        if (results.isUndecided(index)) results.record(index, matcher[method](image, tableFolder), way);
      });
    }
  }
  checkComplete(results, images, file, rows);
  return { patients: results.patients as string[], matched: results.matched };
}

function checkComplete(
  { patients, problems }: MatchResults,
  images: readonly FoundImage[],
  file: string,
  rows: readonly PatientRow[],
): void {
  const unmatched = images.flatMap(({ parts }, index) =>
    patients[index] === undefined ? [`${parts.join('/')} (${problems.get(index) ?? 'not in it'})`] : [],
  );
  if (unmatched.length === 0) return;
  const more =
    unmatched.length > IMAGES_LISTED_MAX ? ` and ${unmatched.length - IMAGES_LISTED_MAX} more` : '';
  throw new SaladError(
    'TRAINING_DATA_INVALID',
    `the table of patients ${file} does not give the patient of ${unmatched.length} of ${images.length} images: ` +
      `${unmatched.slice(0, IMAGES_LISTED_MAX).join(', ')}${more}. The first of its ${rows.length} rows names ` +
      `"${rows[0]?.path ?? ''}"; ${NO_TABLE_HINT}`,
  );
}
