/** The images that paths of a command line stand for. */
import { readdir, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { isDicomFile } from '../../dicom/recognise.js';
import { SaladError } from '../../errors/index.js';
import { isHiddenName, isImageName, mayBeDicomName } from '../../util/file-names.js';

const SUB_FOLDERS = 'sub-folders';

export interface ImageFiles {
  /** In the order of the command line; those of a folder by name. */
  readonly files: readonly string[];
  /** Paths that stand for no image, and why. */
  readonly failures: readonly { readonly path: string; readonly error: unknown }[];
  /** What was left out of a folder, one line a folder. */
  readonly leftOut: readonly string[];
}

/**
 * A file stands for itself, whatever its name; a folder for the PNG, JPEG and DICOM files in it.
 * @param recursive takes the folders in a folder too
 */
export async function findImageFiles(paths: readonly string[], recursive: boolean): Promise<ImageFiles> {
  const files: string[] = [];
  const failures: { path: string; error: unknown }[] = [];
  const leftOut: string[] = [];
  for (const path of paths) {
    try {
      const info = await stat(path);
      if (info.isDirectory()) {
        const found = await imagesIn(path, recursive, leftOut);
        if (found.length === 0) failures.push({ path, error: noImages(recursive) });
        files.push(...found);
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

function noImages(recursive: boolean): SaladError {
  const more = recursive ? '' : '; --recursive looks into its sub-folders too';
  return new SaladError('IMAGE_UNREADABLE', `no PNG, JPEG or DICOM files in this folder${more}`);
}

/** Images of a folder by name. What is hidden is no data; what else is left out is told. */
async function imagesIn(folder: string, recursive: boolean, leftOut: string[]): Promise<string[]> {
  const files: string[] = [];
  const others = new Map<string, number>();
  const count = (what: string) => others.set(what, (others.get(what) ?? 0) + 1);
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (isHiddenName(entry.name)) continue;
    // A link counts as what it leads to, but a linked folder could lead back here.
    const isFolder = entry.isDirectory() || (entry.isSymbolicLink() && (await leadsToFolder(path)));
    if (isFolder && recursive && entry.isDirectory()) files.push(...(await imagesIn(path, true, leftOut)));
    else if (isFolder) count(recursive ? 'linked folders' : SUB_FOLDERS);
    else if (!entry.isFile() && !entry.isSymbolicLink()) count('pipes or devices');
    else if (await isImage(entry.name, path)) files.push(path);
    else count(kindOf(entry.name));
  }
  if (others.size > 0) {
    const hint = others.has(SUB_FOLDERS) ? '; --recursive takes sub-folders' : '';
    leftOut.push(`${folder}: left out ${[...others].map(([what, n]) => `${what} (${n})`).join(', ')}${hint}`);
  }
  return files;
}

/** By its name, or by its content where a DICOM file may have such a name. */
async function isImage(name: string, path: string): Promise<boolean> {
  return isImageName(name) || (mayBeDicomName(name) && (await isDicomFile(path)));
}

function kindOf(name: string): string {
  const extension = extname(name).toLowerCase();
  return extension === '' ? 'files without an extension' : `${extension} files`;
}

async function leadsToFolder(link: string): Promise<boolean> {
  return stat(link).then(
    (info) => info.isDirectory(),
    () => false,
  );
}
