/**
 * Loads a folder of radiographs as training or evaluation data: the images with their classes and patients, and a
 * report of what was left out. Splits are by patient, because two images of one patient on both sides of a split would
 * make every figure too good.
 */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { SaladError } from '../../errors/index.js';
import { type Excluded, type FoundFiles, type FoundImage, findFiles, type Unreadable } from './files.js';
import { type ImageFacts, type ReadOptions, readImageFacts } from './images.js';
import { chooseLayout, type DataLayout, type DataPurpose, NORMAL } from './layout.js';
import { type MatchedBy, matchPatients } from './patient-matching.js';
import {
  findPatientTable,
  namedPatientTable,
  type PatientTable,
  type PatientTableSearch,
  viewTable,
} from './patient-table.js';

export { NORMAL } from './layout.js';

export interface DatasetImage extends ImageFacts {
  /** Path below the data folder, with forward slashes; then `#` and the number of the frame if the file has several. */
  readonly id: string;
  readonly path: string;
  readonly label: string;
  readonly patient: string;
  /** Such as PA or AP; absent where the table of patients has no column `view`. */
  readonly view?: string;
  /** Size of the file. */
  readonly bytes: number;
}

/** How a data folder was interpreted. */
export interface DataReport {
  /** Absolute path. */
  readonly directory: string;
  /** Images that are used; each frame of a file is one. */
  readonly images: number;
  /** Folders whose images are used; paths are below the data folder, `.` is the data folder itself. */
  readonly used: readonly { readonly folder: string; readonly label: string; readonly images: number }[];
  readonly excluded: readonly Excluded[];
  readonly patients: {
    /** File of the table; null without one. */
    readonly table: string | null;
    /** Images whose patient is named in their DICOM file; 0 with a table. Other images are their own patients. */
    readonly byDicom: number;
    readonly count: number;
    /** Number of images that the table matched in each way (patient-matching.ts). */
    readonly matched: Readonly<Partial<Record<MatchedBy, number>>>;
    /** Tables with a matching file name but without a patient column. */
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
  /** File that gives the patients; null: DICOM files name them, or every image is its own patient. */
  readonly patientTable: string | null;
  readonly report: DataReport;
}

export interface DatasetOptions extends ReadOptions {
  /** @default evaluate: all classes */
  readonly purpose?: DataPurpose;
  /** Folders of normal images where their names do not show it; `.` = every image is normal. */
  readonly normal?: readonly string[];
  /** A file; `none` = every image is its own patient. Absent: the table is searched beside the data. */
  readonly patients?: string | undefined;
}

/** The value of `patients` without a table: every image is its own patient. */
export const NO_PATIENTS = 'none';

function invalid(message: string): SaladError {
  return new SaladError('TRAINING_DATA_INVALID', message);
}

function isBelow(parts: readonly string[], folder: readonly string[]): boolean {
  return folder.every((part, index) => parts[index] === part);
}

/** Names all unreadable files in one error, so that the user can repair them together. */
function refuseUnreadable(unreadable: readonly Unreadable[], path: string): void {
  if (unreadable.length === 0) return;
  const names = unreadable.map(({ parts, reason }) => `${parts.join('/') || '.'}: ${reason}`);
  throw invalid(
    `${unreadable.length === 1 ? 'one file' : `${unreadable.length} files`} of ${path} cannot be read; ` +
      `repair or remove:\n  ${names.join('\n  ')}`,
  );
}

function findTable(directory: string, patients: string | undefined): PatientTableSearch {
  if (patients === NO_PATIENTS) return { table: null, passedOver: [] };
  return patients === undefined ? findPatientTable(directory) : namedPatientTable(patients);
}

async function resolveFolder(path: string): Promise<string> {
  const info = await stat(path).catch(() => null);
  if (!info?.isDirectory()) throw invalid(`${path} is not a folder`);
  return resolve(path);
}

/** Combines left-out files and folders; files of a folder that is left out as a whole are not listed again. */
function combineExcluded(files: readonly Excluded[], folders: readonly Excluded[]): readonly Excluded[] {
  const wholeFolders = folders.map(({ path }) => path).filter((path) => path.endsWith('/'));
  return [...folders, ...files.filter(({ path }) => !wholeFolders.some((folder) => path.startsWith(folder)))];
}

interface LabelledImage extends FoundImage {
  readonly label: string;
}

interface ChosenFiles {
  readonly layout: DataLayout;
  readonly images: readonly LabelledImage[];
  readonly used: DataReport['used'];
  readonly excluded: readonly Excluded[];
  /** Unreadable files that must be reported; see `concernsData`. */
  readonly unreadable: readonly Unreadable[];
}

/** Chooses the layout. If it is ambiguous, an unreadable folder may be the cause, so that one is reported first. */
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

/**
 * Whether an unreadable file or folder may belong to the data: it lies in a used folder or, where all classes are read,
 * directly in the root, where it may be a class folder.
 */
function concernsData({ parts }: Unreadable, layout: DataLayout, purpose: DataPurpose): boolean {
  return (
    layout.classes.some((each) => isBelow(parts, each.parts)) ||
    (purpose === 'evaluate' && parts.length <= layout.root.length + 1 && isBelow(parts, layout.root))
  );
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
  const unreadableElsewhere = found.unreadable
    .filter((each) => !concernsData(each, layout, purpose))
    .map(({ parts, reason }): Excluded => ({ path: parts.join('/'), files: 1, reason }));
  return {
    layout,
    images: classes.flatMap(({ images }) => images),
    used: classes.map((each) => ({ ...each, images: each.images.length })),
    excluded: combineExcluded([...found.excluded, ...unreadableElsewhere], layout.excluded),
    unreadable: found.unreadable.filter((each) => concernsData(each, layout, purpose)),
  };
}

/**
 * Finds the images of a data folder, then opens and hashes every one of them.
 * @throws SaladError CONFIGURATION_INVALID where the folder has no image; TRAINING_DATA_INVALID where it is missing or
 *   ambiguous or has no normal image, where files cannot be read (all are named), or where the table of patients lacks
 *   an image; CANCELLED
 */
export async function loadDataset(path: string, options: DatasetOptions = {}): Promise<Dataset> {
  const directory = await resolveFolder(path);
  const chosen = await chooseFiles(directory, path, options);
  if (chosen.unreadable.length === 0 && !chosen.images.some(({ label }) => label === NORMAL)) {
    // Without any image the wrong folder was named.
    throw new SaladError(
      chosen.images.length === 0 ? 'CONFIGURATION_INVALID' : 'TRAINING_DATA_INVALID',
      `${path} holds no normal PNG, JPEG or DICOM image: put them in ${join(path, NORMAL)}/ or directly in the folder`,
    );
  }
  const { table, passedOver } = findTable(directory, options.patients);
  const matches = table ? matchPatients(table, directory, chosen.images) : null;
  const views = viewsOf(table, directory, chosen.images);
  const paths = chosen.images.map((image) => image.path);
  const facts = await readImageFacts(paths, options);
  refuseUnreadable([...chosen.unreadable, ...unreadableOf(chosen.images, facts)], path);
  const usesDicom = table === null && options.patients !== NO_PATIENTS;
  const images = withPatients(
    chosen.images.flatMap(({ parts, path: file, label, bytes }, index) => {
      const id = parts.join('/');
      const patient = matches?.patients[index] ?? `${OWN_PATIENT}${id}`;
      const view = views?.[index];
      return (facts[index] as readonly ImageFacts[]).map((each) => {
        const frameId = each.frame === undefined ? id : `${id}#${each.frame}`;
        const ofImage = { ...each, id: frameId, path: file, label, bytes, patient };
        return view === undefined ? ofImage : { ...ofImage, view };
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
      images: images.length,
      used: chosen.used,
      excluded: chosen.excluded,
      patients: {
        table: table?.file ?? null,
        byDicom: images.filter(({ patient }) => patient.startsWith(DICOM_PATIENT)).length,
        count: new Set(images.map((image) => image.patient)).size,
        matched: matches?.matched ?? {},
        passedOver,
      },
    },
  };
}

/** Views are matched to images as patients are. */
function viewsOf(
  table: PatientTable | null,
  directory: string,
  images: readonly FoundImage[],
): readonly string[] | undefined {
  const views = table && viewTable(table);
  return views ? matchPatients(views, directory, images).patients : undefined;
}

/** Prefixes of patients that no table gives. */
const OWN_PATIENT = 'image:';
const DICOM_PATIENT = 'dicom:';

/**
 * Names the patients of DICOM files by the lowest pixel hash among their images. This name does not depend on where the
 * files are, and does not identify the patient.
 */
function withPatients(images: readonly DatasetImage[], usesDicom: boolean): readonly DatasetImage[] {
  const lowestHash = new Map<string, string>();
  for (const { patientKey: key, pixelHash } of usesDicom ? images : []) {
    if (key === undefined) continue;
    const before = lowestHash.get(key);
    if (before === undefined || pixelHash < before) lowestHash.set(key, pixelHash);
  }
  return images.map(({ patientKey, ...image }) => {
    const hash = patientKey === undefined ? undefined : lowestHash.get(patientKey);
    return hash === undefined ? image : { ...image, patient: `${DICOM_PATIENT}${hash}` };
  });
}

/** Whether the patient of every image is known: from a table, or from the DICOM files. */
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

/** Median of the shorter sides of the images, in pixels; undefined for no images. */
export function medianShorterSide(
  images: readonly Pick<DatasetImage, 'rows' | 'columns'>[],
): number | undefined {
  const sides = images.map(({ rows, columns }) => Math.min(rows, columns)).sort((a, b) => a - b);
  return sides[Math.floor(sides.length / 2)];
}

/** Keeps the first image of every distinct picture, in order. */
export function withoutDuplicates(images: readonly DatasetImage[]): readonly DatasetImage[] {
  const seen = new Set<string>();
  return images.filter(({ pixelHash }) => !seen.has(pixelHash) && seen.add(pixelHash));
}

/** SHA-256 over the sorted SHA-256 of all files; independent of names, order and folders. */
export function dataHash(images: readonly DatasetImage[]): string {
  const hashes = images.map((image) => image.sha256).sort();
  return createHash('sha256').update(hashes.join('\n')).digest('hex');
}
