/**
 * Lists the files of a data folder: PNG, JPEG and DICOM images, and every file that is not used, with the reason. Lists
 * only regular files as images, because opening a FIFO would wait for a writer. Follows links.
 */
import type { Dirent, Stats } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDicomFile } from '../../dicom/recognise.js';
import { systemReason } from '../../errors/index.js';
import { isHiddenName, isImageName, mayBeDicomName } from '../../util/file-names.js';

export interface FoundImage {
  /** Path below the data folder: the name of every folder, then the file name. */
  readonly parts: readonly string[];
  readonly path: string;
  /** Size of the file. */
  readonly bytes: number;
}

/** A file or a whole folder that is not used. */
export interface Excluded {
  /** Path below the data folder with forward slashes; the path of a folder ends with a slash. */
  readonly path: string;
  /** Number of image files in a folder; 1 for a file. */
  readonly files: number;
  readonly reason: string;
}

/** A file or folder that cannot be read. */
export interface Unreadable {
  readonly parts: readonly string[];
  readonly reason: string;
}

export interface FoundFiles {
  /** Sorted by path. */
  readonly images: readonly FoundImage[];
  readonly excluded: readonly Excluded[];
  readonly unreadable: readonly Unreadable[];
}

/** Tables that are read together with the images; they are not reported as left out. */
const TABLES = /^(boxes\.tsv|(manifest|patients)\.(csv|tsv))$/i;

const HIDDEN = 'hidden or system file';
const NO_IMAGE = 'neither PNG nor JPEG by its extension, nor DICOM';
const NOT_REGULAR = 'not a regular file (FIFO, socket or device)';
const LOOP = 'link to a folder that contains it';

/** The reason of a failed operation on a file that the folder lists, without the path. */
export function listedFileReason(error: unknown): string {
  const isMissing = error instanceof Error && Reflect.get(error, 'code') === 'ENOENT';
  return isMissing ? 'it does not exist (a broken link?)' : systemReason(error);
}

/** Compares by UTF-16 code units, so that the order does not depend on the locale. */
function compareCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

class FolderWalk {
  readonly images: FoundImage[] = [];
  readonly excluded: Excluded[] = [];
  readonly unreadable: Unreadable[] = [];

  /** @param ancestors real paths of this folder and of those above it; a link to one of them is not followed */
  async visitFolder(path: string, parts: readonly string[], ancestors: readonly string[]): Promise<void> {
    let entries: Dirent[];
    try {
      entries = await readdir(path, { withFileTypes: true });
    } catch (error) {
      this.unreadable.push({ parts, reason: listedFileReason(error) });
      return;
    }
    for (const { name } of entries.sort((a, b) => compareCodeUnits(a.name, b.name))) {
      await this.visitEntry(join(path, name), [...parts, name], ancestors);
    }
  }

  private async visitEntry(
    path: string,
    parts: readonly string[],
    ancestors: readonly string[],
  ): Promise<void> {
    const name = parts.at(-1)!;
    if (isHiddenName(name)) return this.exclude(parts, HIDDEN);
    let info: Stats;
    try {
      info = await stat(path);
    } catch (error) {
      this.unreadable.push({ parts, reason: listedFileReason(error) });
      return;
    }
    if (info.isDirectory()) {
      const realPath = await realpath(path);
      if (ancestors.includes(realPath)) return this.exclude(parts, LOOP);
      return this.visitFolder(path, parts, [...ancestors, realPath]);
    }
    if (!info.isFile()) return this.exclude(parts, NOT_REGULAR);
    if (TABLES.test(name)) return;
    const isImage = isImageName(name) || (mayBeDicomName(name) && (await isDicomFile(path)));
    if (!isImage) return this.exclude(parts, NO_IMAGE);
    this.images.push({ parts, path, bytes: info.size });
  }

  private exclude(parts: readonly string[], reason: string): void {
    this.excluded.push({ path: parts.join('/'), files: 1, reason });
  }
}

/** Lists the files of a data folder and its sub-folders; opens only files whose names do not tell whether they are DICOM. */
export async function findFiles(directory: string): Promise<FoundFiles> {
  const walk = new FolderWalk();
  await walk.visitFolder(directory, [], [await realpath(directory)]);
  const idOf = ({ parts }: FoundImage): string => parts.join('/');
  return { ...walk, images: walk.images.sort((a, b) => compareCodeUnits(idOf(a), idOf(b))) };
}
