/**
 * Folders of radiographs as training and evaluation data: which images, of which class, of which patient, and what was
 * left out. Splits are by patient: two images of one child on both sides would make every figure too good.
 */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { SaladError } from '../../errors/index.js';
import { type FoundFiles, type FoundImage, findFiles, type LeftOut, type Unreadable } from './files.js';
import { type ImageFacts, type OpenOptions, openImages } from './images.js';
import { chooseLayout, type DataLayout, type DataPurpose, NORMAL } from './layout.js';
import {
  findPatientTable,
  type MatchedBy,
  matchPatients,
  namedPatientTable,
  type PatientTableSearch,
} from './patients.js';

export { NORMAL } from './layout.js';

export interface DatasetImage extends ImageFacts {
  /** Path below the data folder, with forward slashes; `#` and the number of the frame where a file has several. */
  readonly id: string;
  readonly path: string;
  readonly label: string;
  readonly patient: string;
  /** Size of the file. */
  readonly bytes: number;
}

/** How a data folder was understood. */
export interface DataReport {
  /** Absolute path. */
  readonly directory: string;
  /** Paths below the data folder; `.` is the folder itself. */
  readonly taken: readonly { readonly folder: string; readonly label: string; readonly images: number }[];
  readonly leftOut: readonly LeftOut[];
  readonly patients: {
    /** Null: none was given. */
    readonly table: string | null;
    /** Images whose patient their DICOM file names; without a table and without this an image is its own patient. */
    readonly byDicom: number;
    readonly count: number;
    /** Images the table named in each way (data-patients.ts). */
    readonly matched: Readonly<Partial<Record<MatchedBy, number>>>;
    /** Tables of a fitting name without a column of patients. */
    readonly passedOver: readonly string[];
  };
}

export interface Dataset {
  /** The folder that holds the class folders: the data folder, or its `train/` or `test/`. */
  readonly directory: string;
  /** Sorted by class, then by path. */
  readonly images: readonly DatasetImage[];
  /** `normal` first, then the others by name. */
  readonly labels: readonly string[];
  /** The table that patients came from; null: DICOM files name them, or every image is its own patient. */
  readonly patientTable: string | null;
  readonly report: DataReport;
}

export interface DatasetOptions extends OpenOptions {
  /** @default evaluate: all classes */
  readonly purpose?: DataPurpose;
  /** Folders of normal images where their names do not say it; `.` = every image is normal. */
  readonly normal?: readonly string[];
  /** A file; `none` = every image is its own patient. Absent: looked for beside the data. */
  readonly patients?: string | undefined;
}

const NO_PATIENTS = 'none';

function invalid(message: string): SaladError {
  return new SaladError('TRAINING_DATA_INVALID', message);
}

function isBelow(parts: readonly string[], folder: readonly string[]): boolean {
  return folder.every((part, index) => parts[index] === part);
}

/** Names all unreadable files, so that they can be mended in one go. */
function refuseUnreadable(unreadable: readonly Unreadable[], shown: string): void {
  if (unreadable.length === 0) return;
  const names = unreadable.map(({ parts, reason }) => `${parts.join('/') || '.'}: ${reason}`);
  throw invalid(
    `${unreadable.length === 1 ? 'one file' : `${unreadable.length} files`} of ${shown} cannot be read; ` +
      `mend or remove what is named here:\n  ${names.join('\n  ')}`,
  );
}

function searchTable(directory: string, patients: string | undefined): PatientTableSearch {
  if (patients === NO_PATIENTS) return { table: null, passedOver: [] };
  return patients === undefined ? findPatientTable(directory) : namedPatientTable(patients);
}

async function checkFolder(path: string): Promise<string> {
  const info = await stat(path).catch(() => null);
  if (!info?.isDirectory()) throw invalid(`${path} is not a folder`);
  return resolve(path);
}

/** Files and folders that were left out; a folder that is left out as a whole counts once, with its files. */
function leftOutOf(found: readonly LeftOut[], folders: readonly LeftOut[]): readonly LeftOut[] {
  const whole = folders.map(({ path }) => path).filter((path) => path.endsWith('/'));
  return [...folders, ...found.filter(({ path }) => !whole.some((folder) => path.startsWith(folder)))];
}

interface ChosenImage extends FoundImage {
  readonly label: string;
}

interface ChosenFiles {
  readonly layout: DataLayout;
  readonly images: readonly ChosenImage[];
  readonly taken: DataReport['taken'];
  readonly leftOut: readonly LeftOut[];
  /** In the folders that are taken, or directly in the root, where the folder of a class may be unreadable. */
  readonly unreadable: readonly Unreadable[];
}

/** Where folders seem ambiguous, an unreadable one may be the reason: then it is named first. */
function layoutOf(
  { images, unreadable }: FoundFiles,
  purpose: DataPurpose,
  normal: readonly string[],
  path: string,
): DataLayout {
  try {
    return chooseLayout(images, purpose, normal, path);
  } catch (error) {
    refuseUnreadable(unreadable, path);
    throw error;
  }
}

async function chooseFiles(
  directory: string,
  path: string,
  { purpose = 'evaluate', normal = [] }: DatasetOptions,
): Promise<ChosenFiles> {
  const found = await findFiles(directory);
  const layout = layoutOf(found, purpose, normal, path);
  const classes = layout.classes.map(({ parts, label, images }) => ({
    folder: parts.join('/') || '.',
    label,
    images: images.map((image) => ({ ...image, label })),
  }));
  // What lies directly in the root and cannot be read might be the folder of a class.
  const isWanted = ({ parts }: Unreadable): boolean =>
    layout.classes.some((each) => isBelow(parts, each.parts)) ||
    (purpose === 'evaluate' && parts.length <= layout.root.length + 1 && isBelow(parts, layout.root));
  const passed = found.unreadable
    .filter((each) => !isWanted(each))
    .map(({ parts, reason }): LeftOut => ({ path: parts.join('/'), files: 1, reason }));
  return {
    layout,
    images: classes.flatMap(({ images }) => images),
    taken: classes.map((each) => ({ ...each, images: each.images.length })),
    leftOut: leftOutOf([...found.leftOut, ...passed], layout.leftOut),
    unreadable: found.unreadable.filter(isWanted),
  };
}

/**
 * Finds the images of a data folder, opens and hashes every one of them.
 * @throws SaladError TRAINING_DATA_INVALID where the folder is missing or ambiguous or has no normal image, where a file
 *   cannot be read (all are named), or where the table of patients does not know every image; CANCELLED
 */
export async function loadDataset(path: string, options: DatasetOptions = {}): Promise<Dataset> {
  const directory = await checkFolder(path);
  const chosen = await chooseFiles(directory, path, options);
  if (chosen.unreadable.length === 0 && !chosen.images.some(({ label }) => label === NORMAL)) {
    throw invalid(
      `${path} holds no normal PNG, JPEG or DICOM image: put them in ${join(path, NORMAL)}/ or directly in the folder`,
    );
  }
  const { table, passedOver } = searchTable(directory, options.patients);
  const known = table ? matchPatients(table, directory, chosen.images) : null;
  const paths = chosen.images.map((image) => image.path);
  const facts = await openImages(paths, options);
  refuseUnreadable([...chosen.unreadable, ...unreadableOf(chosen.images, facts)], path);
  const usesDicom = table === null && options.patients !== NO_PATIENTS;
  const images = withPatients(
    chosen.images.flatMap(({ parts, path: file, label, bytes }, index) => {
      const id = parts.join('/');
      const patient = known?.patients[index] ?? `${OWN_PATIENT}${id}`;
      return (facts[index] as readonly ImageFacts[]).map((each) => {
        const frameId = each.frame === undefined ? id : `${id}#${each.frame}`;
        return { ...each, id: frameId, path: file, label, bytes, patient };
      });
    }),
    usesDicom,
  );
  return {
    directory: join(directory, ...chosen.layout.root),
    images,
    labels: [...new Set(images.map((image) => image.label))],
    patientTable: table?.file ?? null,
    report: {
      directory,
      taken: chosen.taken,
      leftOut: chosen.leftOut,
      patients: {
        table: table?.file ?? null,
        byDicom: images.filter(({ patient }) => patient.startsWith(DICOM_PATIENT)).length,
        count: new Set(images.map((image) => image.patient)).size,
        matched: known?.matched ?? {},
        passedOver,
      },
    },
  };
}

/** Begin the names of patients that no table gives. */
const OWN_PATIENT = 'image:';
const DICOM_PATIENT = 'dicom:';

/**
 * The patient that DICOM files name, as the lowest pixel hash of the images of that patient: it is the same wherever the
 * files lie, and says nothing of the patient.
 */
function withPatients(images: readonly DatasetImage[], usesDicom: boolean): readonly DatasetImage[] {
  const lowest = new Map<string, string>();
  for (const { patientKey: key, pixelHash } of usesDicom ? images : []) {
    if (key === undefined) continue;
    const before = lowest.get(key);
    if (before === undefined || pixelHash < before) lowest.set(key, pixelHash);
  }
  return images.map(({ patientKey, ...image }) => {
    const hash = patientKey === undefined ? undefined : lowest.get(patientKey);
    return hash === undefined ? image : { ...image, patient: `${DICOM_PATIENT}${hash}` };
  });
}

/** Whether images of one patient are known to be of one: by a table, or because all files name their patient. */
export function knowsPatients({ patientTable, images }: Pick<Dataset, 'patientTable' | 'images'>): boolean {
  return patientTable !== null || images.every(({ patient }) => patient.startsWith(DICOM_PATIENT));
}

function unreadableOf(
  images: readonly FoundImage[],
  facts: readonly (readonly ImageFacts[] | string)[],
): readonly Unreadable[] {
  return images.flatMap(({ parts }, index) => {
    const reason = facts[index];
    return typeof reason === 'string' ? [{ parts, reason }] : [];
  });
}

/** Median of the shorter sides of the images, in pixels; undefined where there is none. */
export function typicalSide(images: readonly Pick<DatasetImage, 'rows' | 'columns'>[]): number | undefined {
  const sides = images.map(({ rows, columns }) => Math.min(rows, columns)).sort((a, b) => a - b);
  return sides[Math.floor(sides.length / 2)];
}

/** The first image of every distinct picture, in order. */
export function withoutDuplicates(images: readonly DatasetImage[]): readonly DatasetImage[] {
  const seen = new Set<string>();
  return images.filter(({ pixelHash }) => !seen.has(pixelHash) && seen.add(pixelHash));
}

/** SHA-256 over the sorted SHA-256 of all files: names, order and folders do not matter. */
export function dataHash(images: readonly DatasetImage[]): string {
  const hashes = images.map((image) => image.sha256).sort();
  return createHash('sha256').update(hashes.join('\n')).digest('hex');
}
