/**
 * Chooses the folders of a data folder that hold normal images and those that hold other classes. Recognises images
 * directly in the folder, class folders (`normal/ pneumonia/`, `NORMAL/ PNEUMONIA/`, `good/ broken/`), and splits with
 * class folders inside (`train/ test/ val/`, as in the Kaggle and MVTec sets). Refuses every other layout, because a
 * wrong guess would train on abnormal images.
 */
import { SaladError } from '../../errors/index.js';
import type { Excluded, FoundImage } from './files.js';

/** The class that bundles are trained on. */
export const NORMAL = 'normal';

/** The command that reads the data. `train` and `calibrate` use normal images only. */
export type DataPurpose = 'train' | 'calibrate' | 'evaluate';

export interface ClassFolder {
  /** Path below the data folder, one name per folder; empty: the data folder itself. */
  readonly parts: readonly string[];
  readonly label: string;
  /** Sorted by path. */
  readonly images: readonly FoundImage[];
}

export interface DataLayout {
  /** Path below the data folder of the folder that holds the class folders: empty, or a split such as `train`. */
  readonly root: readonly string[];
  /** `normal` first, then the others by name. For `train` and `calibrate`, only the normal class. */
  readonly classes: readonly ClassFolder[];
  readonly excluded: readonly Excluded[];
}

/** Names of folders of normal images, in lower case, without blanks and punctuation. */
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
/** Names of folders with masks for the images of other folders. */
const ANNOTATION_NAMES: ReadonlySet<string> = new Set(['mask', 'masks', 'groundtruth']);

/** Reasons for leaving files out. */
const DIRECT_BESIDE_FOLDERS = 'beside the class folders, in none of them';
const ANNOTATION = 'mask, not an image to score';
const ABNORMAL = 'abnormal: only normal images are used';

/** Value of --normal that means the whole data folder. */
const ALL_FOLDERS = '.';

function plainName(folder: string): string {
  return folder.toLowerCase().replace(/[\s._-]+/g, '');
}

function invalid(message: string): SaladError {
  return new SaladError('TRAINING_DATA_INVALID', message);
}

/** Lists folder names for a message. */
function formatFolders(names: readonly string[], limit = 5): string {
  const first = names.slice(0, limit).map((name) => `${name}/`);
  return names.length > limit ? `${first.join(', ')} and ${names.length - limit} more` : first.join(', ');
}

/** The images of one folder, grouped by its sub-folders. */
interface Level {
  readonly parts: readonly string[];
  /** All images at any depth, sorted by path. */
  readonly images: readonly FoundImage[];
  /** Images directly in the folder. */
  readonly direct: readonly FoundImage[];
  /** Images of each sub-folder, at any depth, by the sub-folder's name. */
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

/** Number of path parts up to and including the first annotation folder; 0 where the image is in none. */
function annotationDepth({ parts }: FoundImage): number {
  return parts.slice(0, -1).findIndex((name) => ANNOTATION_NAMES.has(plainName(name))) + 1;
}

/** The annotation folders at any depth, as left out. */
function excludedAnnotations(images: readonly FoundImage[]): readonly Excluded[] {
  const counts = new Map<string, number>();
  for (const image of images) {
    const depth = annotationDepth(image);
    const folder = image.parts.slice(0, depth).join('/');
    if (depth > 0) counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return [...counts].map(([folder, files]) => excludedFolder([folder], files, ANNOTATION));
}

function excludedFolder(parts: readonly string[], files: number, reason: string): Excluded {
  return { path: `${parts.join('/')}/`, files, reason };
}

function excludedDirectImages({ direct }: Level): readonly Excluded[] {
  return direct.map(({ parts }) => ({ path: parts.join('/'), files: 1, reason: DIRECT_BESIDE_FOLDERS }));
}

/** The layout of class folders, given the names of the normal ones. */
function classLayout(level: Level, normal: readonly string[], purpose: DataPurpose): DataLayout {
  const { parts, folders } = level;
  const others = [...folders.keys()].filter((name) => !normal.includes(name)).sort();
  const classOf = (name: string, label: string): ClassFolder => ({
    parts: [...parts, name],
    label,
    images: folders.get(name)!,
  });
  const isUsed = purpose === 'evaluate';
  return {
    root: parts,
    classes: [
      ...normal.map((name) => classOf(name, NORMAL)),
      ...(isUsed ? others.map((name) => classOf(name, name)) : []),
    ],
    excluded: [
      ...excludedDirectImages(level),
      ...(isUsed
        ? []
        : others.map((name) => excludedFolder([...parts, name], folders.get(name)!.length, ABNORMAL))),
    ],
  };
}

function allNormalLayout({ parts, images }: Level): DataLayout {
  return { root: parts, classes: [{ parts, label: NORMAL, images }], excluded: [] };
}

/** The layout where the user named the normal folders with --normal. */
function namedLayout(
  level: Level,
  names: readonly string[],
  purpose: DataPurpose,
  displayPath: string,
): DataLayout {
  if (names.includes(ALL_FOLDERS)) return allNormalLayout(level);
  const missing = names.filter((name) => !level.folders.has(name));
  if (missing.length > 0) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--normal ${missing[0]}: ${displayPath} has no such folder with images in it; ` +
        `it has ${formatFolders([...level.folders.keys()])}`,
    );
  }
  return classLayout(level, names, purpose);
}

const NORMAL_FLAG_HINT =
  'name the folders of normal images with --normal (--normal . where all images are normal)';

/** The layout of a folder without splits. */
function plainLayout(level: Level, purpose: DataPurpose, displayPath: string): DataLayout {
  const names = [...level.folders.keys()].sort();
  const normal = names.filter((name) => NORMAL_NAMES.has(plainName(name)));
  if (normal.length === 1) return classLayout(level, normal, purpose);
  if (normal.length > 1) {
    throw invalid(
      `${displayPath} is ambiguous: ${formatFolders(normal)} could each hold the normal images; ${NORMAL_FLAG_HINT}`,
    );
  }
  if (names.length > 0) {
    throw invalid(
      `${displayPath} has the folders ${formatFolders(names)} and none that is called normal/; ${NORMAL_FLAG_HINT}`,
    );
  }
  return allNormalLayout(level);
}

const SPLIT_OF: Readonly<Record<DataPurpose, 'train' | 'test'>> = {
  train: 'train',
  calibrate: 'train',
  evaluate: 'test',
};

/** The layout of a folder with splits: that of the split which fits the purpose. */
function splitLayout(
  level: Level,
  splits: readonly string[],
  purpose: DataPurpose,
  displayPath: string,
): DataLayout {
  const matching = splits.filter((name) => SPLIT_NAMES[plainName(name)] === SPLIT_OF[purpose]);
  if (matching.length !== 1) {
    throw invalid(
      `${displayPath} has the splits ${formatFolders(splits)}: ${matching.length === 0 ? 'none' : 'more than one'} ` +
        `of them is a ${SPLIT_OF[purpose]}/ to ${purpose} with; give one of them as --data`,
    );
  }
  const [name] = matching as [string];
  const inner = levelOf(level.folders.get(name)!, [...level.parts, name]);
  if (inner.direct.length > 0) {
    throw invalid(
      `${displayPath}: ${name}/ holds images directly, outside class folders; ` +
        `if all of them are normal, give ${name}/ as --data`,
    );
  }
  const layout = plainLayout(inner, purpose, `${displayPath}/${name}`);
  const reason = `salad ${purpose} uses ${SPLIT_OF[purpose]}/ where data is split`;
  const others = [...level.folders].filter(([other]) => other !== name);
  return {
    ...layout,
    excluded: [
      ...layout.excluded,
      ...excludedDirectImages(level),
      ...others.map(([other, images]) => excludedFolder([...level.parts, other], images.length, reason)),
    ],
  };
}

/**
 * Recognises the class folders of a data folder.
 * @param images every image below the data folder
 * @param normal folders that the user named as normal; `.` means the whole data folder
 * @param displayPath the data folder as messages name it
 * @throws SaladError TRAINING_DATA_INVALID where the folders are ambiguous
 */
export function chooseLayout(
  images: readonly FoundImage[],
  purpose: DataPurpose,
  normal: readonly string[],
  displayPath: string,
): DataLayout {
  const withoutMasks = images.filter((image) => annotationDepth(image) === 0);
  const layout = layoutOf(levelOf(withoutMasks, []), purpose, normal, displayPath);
  return { ...layout, excluded: [...layout.excluded, ...excludedAnnotations(images)] };
}

function layoutOf(
  level: Level,
  purpose: DataPurpose,
  normal: readonly string[],
  displayPath: string,
): DataLayout {
  if (normal.length > 0) return namedLayout(level, normal, purpose, displayPath);
  const names = [...level.folders.keys()];
  const splits = names.filter((name) => SPLIT_NAMES[plainName(name)] !== undefined);
  if (splits.length === 0) return plainLayout(level, purpose, displayPath);
  const classes = names.filter((name) => NORMAL_NAMES.has(plainName(name)));
  if (classes.length > 0) {
    throw invalid(
      `${displayPath} is ambiguous: it has ${formatFolders(classes)} beside the splits ${formatFolders(splits)}; ` +
        NORMAL_FLAG_HINT,
    );
  }
  return splitLayout(level, splits, purpose, displayPath);
}
