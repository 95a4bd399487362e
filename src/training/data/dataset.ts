/**
 * Folders of radiographs as training and evaluation data: which images, of which class, of which patient.
 * Splits are by patient: two images of one child on both sides would make every figure too good.
 */
import { createHash } from 'node:crypto';
import { type Dirent, existsSync, readdirSync, readFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, relative, resolve, sep } from 'node:path';
import sharp from 'sharp';
import { SaladError } from '../../errors/index.js';
import { hashFraction } from '../../util/hash-random.js';

/** The class every bundle learns; its folder is `normal/`. */
export const NORMAL = 'normal';
const IMAGE_EXTENSIONS = new Set(['.png', '.jpg', '.jpeg']);
/** Folders beside the classes that hold no images to score. */
const IGNORED_FOLDERS = new Set(['masks']);

export interface DatasetImage {
  /** Path below the data folder, with forward slashes. */
  readonly id: string;
  readonly path: string;
  readonly label: string;
  readonly patient: string;
  readonly sha256: string;
}

export interface Dataset {
  readonly directory: string;
  /** Sorted by id. */
  readonly images: readonly DatasetImage[];
  /** `normal` first, then the others by name. */
  readonly labels: readonly string[];
  /** Where patients came from, or null: every image is its own patient. */
  readonly patientTable: string | null;
}

function listImages(directory: string): string[] {
  const entries: Dirent[] = readdirSync(directory, { withFileTypes: true });
  return entries
    .flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) return IGNORED_FOLDERS.has(entry.name) ? [] : listImages(path);
      return IMAGE_EXTENSIONS.has(extname(entry.name).toLowerCase()) ? [path] : [];
    })
    .sort();
}

/** Images whose size is looked at. */
const SIZE_SAMPLE = 64;

/** Median of the shorter sides of up to 64 images of a folder, in pixels; undefined where none can be read. */
export async function typicalSide(directory: string): Promise<number | undefined> {
  if (!existsSync(directory)) return undefined;
  const files = listImages(directory);
  const step = Math.max(1, Math.floor(files.length / SIZE_SAMPLE));
  const sides: number[] = [];
  for (let at = 0; at < files.length; at += step) {
    const metadata = await sharp(files[at])
      .metadata()
      .catch(() => undefined);
    if (metadata) sides.push(Math.min(metadata.width, metadata.height));
  }
  return sides.sort((a, b) => a - b)[Math.floor(sides.length / 2)];
}

interface PatientTable {
  readonly file: string;
  readonly patientOf: (path: string) => string | undefined;
}

function readTable(file: string): PatientTable | null {
  const lines = readFileSync(file, 'utf8')
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '');
  const header = (lines[0] ?? '').split('\t').map((cell) => cell.trim().toLowerCase());
  const pathColumn = header.findIndex((cell) => cell === 'path' || cell === 'file');
  const patientColumn = header.indexOf('patient');
  if (pathColumn < 0 || patientColumn < 0) return null;
  const patients = new Map<string, string>();
  for (const line of lines.slice(1)) {
    const cells = line.split('\t');
    const path = cells[pathColumn]?.trim();
    const patient = cells[patientColumn]?.trim();
    if (path && patient) patients.set(path, patient);
  }
  const root = dirname(file);
  const patientOf = (path: string): string | undefined =>
    patients.get(relative(root, path).split(sep).join('/')) ?? patients.get(basename(path));
  return { file, patientOf };
}

/** `patients.tsv` or `manifest.tsv` (columns path or file, patient) in the folder or up to two above it. */
function findPatientTable(directory: string): PatientTable | null {
  let folder = directory;
  for (let level = 0; level < 3; level += 1) {
    for (const name of ['patients.tsv', 'manifest.tsv']) {
      const file = join(folder, name);
      const table = existsSync(file) ? readTable(file) : null;
      if (table) return table;
    }
    folder = dirname(folder);
  }
  return null;
}

/** Class folders where `normal/` exists; else the images of the folder itself, all normal. */
function classFolders(directory: string): readonly (readonly [label: string, folder: string])[] {
  if (!existsSync(join(directory, NORMAL))) return [[NORMAL, directory]];
  const others = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== NORMAL && !IGNORED_FOLDERS.has(entry.name))
    .map((entry) => entry.name)
    .sort();
  return [NORMAL, ...others].map((label) => [label, join(directory, label)] as const);
}

/**
 * Finds and hashes every image.
 * @throws SaladError TRAINING_DATA_INVALID where the folder is missing or has no normal image.
 */
export async function loadDataset(
  path: string,
  options: { readonly labels?: readonly string[] } = {},
): Promise<Dataset> {
  const directory = resolve(path);
  const info = await stat(directory).catch(() => null);
  if (!info?.isDirectory()) throw new SaladError('TRAINING_DATA_INVALID', `${path} is not a folder`);
  const table = findPatientTable(directory);
  const images: DatasetImage[] = [];
  for (const [label, folder] of classFolders(directory)) {
    if (options.labels && !options.labels.includes(label)) continue;
    for (const file of listImages(folder)) {
      const id = relative(directory, file).split(sep).join('/');
      const sha256 = createHash('sha256')
        .update(await readFile(file))
        .digest('hex');
      images.push({ id, path: file, label, patient: table?.patientOf(file) ?? `image:${id}`, sha256 });
    }
  }
  if (!images.some((image) => image.label === NORMAL)) {
    throw new SaladError(
      'TRAINING_DATA_INVALID',
      `${path} holds no normal PNG or JPEG: put them in ${join(path, NORMAL)}/ or directly in the folder`,
    );
  }
  const labels = [...new Set(images.map((image) => image.label))];
  return { directory, images, labels, patientTable: table?.file ?? null };
}

/** The first image of every distinct file content, in order. */
export function withoutDuplicates(images: readonly DatasetImage[]): readonly DatasetImage[] {
  const seen = new Set<string>();
  return images.filter((image) => !seen.has(image.sha256) && seen.add(image.sha256));
}

/** SHA-256 over the sorted SHA-256 of all files: names, order and folders do not matter. */
export function dataHash(images: readonly DatasetImage[]): string {
  const hashes = images.map((image) => image.sha256).sort();
  return createHash('sha256').update(hashes.join('\n')).digest('hex');
}

export interface PatientSplit {
  /** What the encoder, the whitening and the memory bank see. */
  readonly fit: readonly DatasetImage[];
  /** Half A: per-cell median and deviation of patch scores. */
  readonly calibrationA: readonly DatasetImage[];
  /** Half B: image scores, from which p-values and thresholds come. */
  readonly calibrationB: readonly DatasetImage[];
}

/**
 * Patients in the order of a hash of their id and the seed; the first `1 - validation` of the images fit,
 * the rest is halved into A and B. No patient is on two sides.
 * @param validation fraction of the images, in (0, 1).
 * @throws SaladError TRAINING_DATA_INVALID with fewer than three patients.
 */
export function splitByPatient(
  images: readonly DatasetImage[],
  seed: number,
  validation = 0.2,
): PatientSplit {
  const byPatient = new Map<string, DatasetImage[]>();
  for (const image of images) {
    const group = byPatient.get(image.patient);
    if (group) group.push(image);
    else byPatient.set(image.patient, [image]);
  }
  if (byPatient.size < 3) {
    throw new SaladError(
      'TRAINING_DATA_INVALID',
      `${byPatient.size} patients are too few: fitting and the two calibration halves need one each`,
    );
  }
  const order = [...byPatient.keys()]
    .map((patient) => ({ patient, key: hashFraction(patient, seed) }))
    .sort((a, b) => a.key - b.key || (a.patient < b.patient ? -1 : 1));
  const parts: [DatasetImage[], DatasetImage[], DatasetImage[]] = [[], [], []];
  const bounds = [(1 - validation) * images.length, (1 - validation / 2) * images.length];
  let placed = 0;
  order.forEach(({ patient }, index) => {
    const group = byPatient.get(patient)!;
    const centre = placed + group.length / 2;
    let part = bounds.filter((bound) => centre > bound).length;
    // Tiny sets: the last two patients always calibrate, the first always fits.
    if (index >= order.length - 2) part = 2 - (order.length - 1 - index);
    else if (index === 0) part = 0;
    parts[part]!.push(...group);
    placed += group.length;
  });
  const byId = (a: DatasetImage, b: DatasetImage): number => (a.id < b.id ? -1 : 1);
  const [fit, calibrationA, calibrationB] = parts.map((part) => part.sort(byId)) as typeof parts;
  return { fit, calibrationA, calibrationB };
}
