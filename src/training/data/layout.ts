/**
 * Decides which folders of a data folder hold normal images and which hold other classes. It recognises images directly
 * in the folder, class folders (`normal/ pneumonia/`, `NORMAL/ PNEUMONIA/`, `good/ broken/`), and splits with class
 * folders inside (`train/ test/ val/`, as in the Kaggle and MVTec sets). It refuses everything else: a wrong guess would
 * train on abnormal images.
 */
import { SaladError } from '../../errors/index.js';
import type { FoundImage, LeftOut } from './files.js';

/** The class every bundle learns. */
export const NORMAL = 'normal';

/** What the data is read for. `train` and `calibrate` take normal images only. */
export type DataPurpose = 'train' | 'calibrate' | 'evaluate';

export interface ClassFolder {
  /** Below the data folder, folder by folder; empty: the data folder itself. */
  readonly parts: readonly string[];
  readonly label: string;
  /** Sorted by path. */
  readonly images: readonly FoundImage[];
}

export interface DataLayout {
  /** The folder whose sub-folders are the classes, below the data folder: empty, or a split such as `train`. */
  readonly root: readonly string[];
  /** `normal` first, then the others by name. Of `train` and `calibrate`: the normal one only. */
  readonly classes: readonly ClassFolder[];
  readonly leftOut: readonly LeftOut[];
}

/** Names of folders of normal images, without case, blanks and punctuation. */
const NORMAL_NAMES: ReadonlySet<string> = new Set([
  'normal',
  'normals',
  'good',
  'ok',
  'healthy',
  'nofinding',
  'nofindings',
]);
const SPLIT_NAMES: Readonly<Record<string, 'train' | 'test' | 'validation'>> = {
  train: 'train',
  training: 'train',
  test: 'test',
  testing: 'test',
  val: 'validation',
  valid: 'validation',
  validation: 'validation',
};
/** Folders that annotate the images of other folders. */
const ANNOTATION_NAMES: ReadonlySet<string> = new Set(['mask', 'masks', 'groundtruth']);

const ALL_FOLDERS = '.';

function plainName(folder: string): string {
  return folder.toLowerCase().replace(/[\s._-]+/g, '');
}

function invalid(message: string): SaladError {
  return new SaladError('TRAINING_DATA_INVALID', message);
}

function listed(names: readonly string[], shown = 5): string {
  const first = names.slice(0, shown).map((name) => `${name}/`);
  return names.length > shown ? `${first.join(', ')} and ${names.length - shown} more` : first.join(', ');
}

/** The images below one folder of the data folder, by sub-folder. */
interface Level {
  readonly parts: readonly string[];
  /** All of them, sorted by path. */
  readonly images: readonly FoundImage[];
  /** Images directly in it. */
  readonly direct: readonly FoundImage[];
  /** Images in a sub-folder, at any depth, by its name. */
  readonly folders: ReadonlyMap<string, readonly FoundImage[]>;
}

function levelOf(images: readonly FoundImage[], parts: readonly string[]): Level {
  const direct: FoundImage[] = [];
  const folders = new Map<string, FoundImage[]>();
  for (const image of images) {
    const name = image.parts[parts.length]!;
    if (image.parts.length === parts.length + 1) direct.push(image);
    else if (folders.has(name)) folders.get(name)!.push(image);
    else folders.set(name, [image]);
  }
  return { parts, images, direct, folders };
}

/** How many of the image's folders lead to one of annotations, that one included; 0 where none is. */
function annotationDepth({ parts }: FoundImage): number {
  return parts.slice(0, -1).findIndex((name) => ANNOTATION_NAMES.has(plainName(name))) + 1;
}

/** The folders of annotations, at any depth. */
function annotationsOf(images: readonly FoundImage[]): readonly LeftOut[] {
  const counts = new Map<string, number>();
  for (const image of images) {
    const depth = annotationDepth(image);
    const folder = image.parts.slice(0, depth).join('/');
    if (depth > 0) counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return [...counts].map(([folder, files]) => folderLeftOut([folder], files, ANNOTATION));
}

function folderLeftOut(parts: readonly string[], files: number, reason: string): LeftOut {
  return { path: `${parts.join('/')}/`, files, reason };
}

const DIRECT_BESIDE_FOLDERS = 'beside the class folders, in none of them';
const ANNOTATION = 'mask, not an image to score';
const ABNORMAL = 'abnormal: only normal images are taken';

/** Class folders of one level with a known normal one. */
function classLayout(level: Level, normal: readonly string[], purpose: DataPurpose): DataLayout {
  const { parts, direct, folders } = level;
  const others = [...folders.keys()].filter((name) => !normal.includes(name)).sort();
  const taken = purpose === 'evaluate' ? others : [];
  return {
    root: parts,
    classes: [
      ...normal.map((name) => ({ parts: [...parts, name], label: NORMAL, images: folders.get(name)! })),
      ...taken.map((name) => ({ parts: [...parts, name], label: name, images: folders.get(name)! })),
    ],
    leftOut: [
      ...direct.map((image) => ({
        path: image.parts.join('/'),
        files: 1,
        reason: DIRECT_BESIDE_FOLDERS,
      })),
      ...others
        .filter((name) => !taken.includes(name))
        .map((name) => folderLeftOut([...parts, name], folders.get(name)!.length, ABNORMAL)),
    ],
  };
}

function everythingNormal({ parts, images }: Level): DataLayout {
  return { root: parts, classes: [{ parts, label: NORMAL, images }], leftOut: [] };
}

/** The folders a user named with --normal. */
function namedLayout(
  level: Level,
  names: readonly string[],
  purpose: DataPurpose,
  shown: string,
): DataLayout {
  if (names.includes(ALL_FOLDERS)) return everythingNormal(level);
  const missing = names.filter((name) => !level.folders.has(name));
  if (missing.length > 0) {
    throw invalid(
      `--normal ${missing[0]}: ${shown} has no such folder with images in it; it has ${listed([...level.folders.keys()])}`,
    );
  }
  return classLayout(level, names, purpose);
}

const HELP = 'name the folders of normal images with --normal (--normal . where all images are normal)';

/** One level without splits. */
function plainLayout(level: Level, purpose: DataPurpose, shown: string): DataLayout {
  const names = [...level.folders.keys()].sort();
  const normal = names.filter((name) => NORMAL_NAMES.has(plainName(name)));
  if (normal.length === 1) return classLayout(level, normal, purpose);
  if (normal.length > 1) {
    throw invalid(`${shown} is ambiguous: ${listed(normal)} each sound normal; ${HELP}`);
  }
  if (names.length > 0) {
    throw invalid(`${shown} has the folders ${listed(names)} and none that is called normal/; ${HELP}`);
  }
  return everythingNormal(level);
}

const SPLIT_OF: Readonly<Record<DataPurpose, 'train' | 'test'>> = {
  train: 'train',
  calibrate: 'train',
  evaluate: 'test',
};

function splitLayout(
  level: Level,
  splits: readonly string[],
  purpose: DataPurpose,
  shown: string,
): DataLayout {
  const wanted = splits.filter((name) => SPLIT_NAMES[plainName(name)] === SPLIT_OF[purpose]);
  if (wanted.length !== 1) {
    throw invalid(
      `${shown} has the splits ${listed(splits)}: ${wanted.length === 0 ? 'none' : 'more than one'} of them is a ` +
        `${SPLIT_OF[purpose]}/ to ${purpose} with; give one of them as --data`,
    );
  }
  const [name] = wanted as [string];
  const inner = levelOf(level.folders.get(name)!, [...level.parts, name]);
  if (inner.direct.length > 0) {
    throw invalid(
      `${shown}: ${name}/ holds images directly, of no class; if all of them are normal, give ${name}/ as --data`,
    );
  }
  const layout = plainLayout(inner, purpose, `${shown}/${name}`);
  const reason = `salad ${purpose} takes ${SPLIT_OF[purpose]}/ where data is split`;
  const others = [...level.folders].filter(([other]) => other !== name);
  return {
    ...layout,
    leftOut: [
      ...layout.leftOut,
      ...level.direct.map((image) => ({
        path: image.parts.join('/'),
        files: 1,
        reason: DIRECT_BESIDE_FOLDERS,
      })),
      ...others.map(([other, images]) => folderLeftOut([...level.parts, other], images.length, reason)),
    ],
  };
}

/**
 * Recognises the class folders of a data folder.
 * @param images every image below the data folder
 * @param normal folders that the user says hold normal images; `.` stands for the whole data folder
 * @param shown the data folder as messages name it
 * @throws SaladError TRAINING_DATA_INVALID where the folders are ambiguous
 */
export function chooseLayout(
  images: readonly FoundImage[],
  purpose: DataPurpose,
  normal: readonly string[],
  shown: string,
): DataLayout {
  const toScore = images.filter((image) => annotationDepth(image) === 0);
  const layout = layoutOf(levelOf(toScore, []), purpose, normal, shown);
  return { ...layout, leftOut: [...layout.leftOut, ...annotationsOf(images)] };
}

function layoutOf(level: Level, purpose: DataPurpose, normal: readonly string[], shown: string): DataLayout {
  if (normal.length > 0) return namedLayout(level, normal, purpose, shown);
  const names = [...level.folders.keys()];
  const splits = names.filter((name) => SPLIT_NAMES[plainName(name)] !== undefined);
  if (splits.length === 0) return plainLayout(level, purpose, shown);
  const classes = names.filter((name) => NORMAL_NAMES.has(plainName(name)));
  if (classes.length > 0) {
    throw invalid(
      `${shown} is ambiguous: it has ${listed(classes)} beside the splits ${listed(splits)}; ${HELP}`,
    );
  }
  return splitLayout(level, splits, purpose, shown);
}
