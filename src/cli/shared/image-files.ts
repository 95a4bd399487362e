/** Finds the image files that the paths of a command line name. */
import { readdir, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { isDicomFile } from '../../dicom/recognise.js';
import { SaladError } from '../../errors/index.js';
import { isHiddenName, isImageName, mayBeDicomName } from '../../util/file-names.js';

const SUB_FOLDERS = 'sub-folders';

export interface ImageFiles {
  /** In the order of the command line; files of one folder are sorted by name. */
  readonly files: readonly string[];
  /** Paths without an image, each with the reason. */
  readonly failures: readonly { readonly path: string; readonly error: unknown }[];
  /** Descriptions of the entries that were left out, one line per folder. */
  readonly leftOut: readonly string[];
}

/**
 * A path to a file names that file, with any extension; a path to a folder names the PNG, JPEG and DICOM files in it.
 * @param recursive also searches sub-folders
 */
export async function findImageFiles(paths: readonly string[], recursive: boolean): Promise<ImageFiles> {
  const files: string[] = [];
  const failures: { path: string; error: unknown }[] = [];
  const leftOut: string[] = [];
  for (const path of paths) {
    try {
      const info = await stat(path);
      if (info.isDirectory()) {
        const leftOutHere: string[] = [];
        const images = await listImages(path, recursive, leftOutHere);
        if (images.length === 0) {
          // One message says both: what is missing, and what the folder holds instead.
          failures.push({ path, error: noImagesError(path, leftOutHere) });
        } else leftOut.push(...leftOutHere);
        files.push(...images);
      } else if (info.isFile() || path.startsWith('/dev/')) {
        files.push(path);
      } else {
        failures.push({ path, error: new SaladError('IMAGE_UNREADABLE', 'is a pipe or device, not a file') });
      }
    } catch (error) {
      failures.push({ path, error });
    }
  }
  return { files, failures, leftOut };
}

/** @param leftOut descriptions of what the folder, and its sub-folders, hold instead */
function noImagesError(path: string, leftOut: readonly string[]): SaladError {
  const found = leftOut.map((line) => (line.startsWith(`${path}: `) ? line.slice(path.length + 2) : line));
  const instead = found.length === 0 ? '' : ` (${found.join('; ')})`;
  return new SaladError('IMAGE_UNREADABLE', `no PNG, JPEG or DICOM files in this folder${instead}`);
}

/**
 * Lists the images of a folder, sorted by name. Hidden entries are ignored silently, because they are never data;
 * every other entry that is left out is counted and added to `leftOut`.
 */
async function listImages(folder: string, recursive: boolean, leftOut: string[]): Promise<string[]> {
  const files: string[] = [];
  const leftOutCounts = new Map<string, number>();
  const count = (kind: string) => leftOutCounts.set(kind, (leftOutCounts.get(kind) ?? 0) + 1);
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (isHiddenName(entry.name)) continue;
    // A link is treated as its target, but a linked folder is not searched: it could contain this folder.
    const isFolder = entry.isDirectory() || (entry.isSymbolicLink() && (await isLinkToFolder(path)));
    if (isFolder && recursive && entry.isDirectory()) files.push(...(await listImages(path, true, leftOut)));
    else if (isFolder) count(recursive ? 'linked folders' : SUB_FOLDERS);
    else if (!entry.isFile() && !entry.isSymbolicLink()) count('pipes or devices');
    else if (await isImage(entry.name, path)) files.push(path);
    else count(kindOf(entry.name));
  }
  if (leftOutCounts.size > 0) {
    const counts = [...leftOutCounts].map(([kind, count]) => `${kind} (${count})`).join(', ');
    const hint = leftOutCounts.has(SUB_FOLDERS) ? '; add --recursive to search sub-folders' : '';
    leftOut.push(`${folder}: left out ${counts}${hint}`);
  }
  return files;
}

/** By the name, or by the content if the name does not tell whether a file is DICOM. */
async function isImage(name: string, path: string): Promise<boolean> {
  return isImageName(name) || (mayBeDicomName(name) && (await isDicomFile(path)));
}

function kindOf(name: string): string {
  const extension = extname(name).toLowerCase();
  return extension === '' ? 'files without an extension' : `${extension} files`;
}

async function isLinkToFolder(link: string): Promise<boolean> {
  return stat(link).then(
    (info) => info.isDirectory(),
    () => false,
  );
}
