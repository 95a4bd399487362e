/**
 * Lists the files of a data folder: PNG, JPEG and DICOM images, and every file that is not used, with the reason. Only regular
 * files are opened later (opening a FIFO would wait for a writer). Links are followed.
 */
import type { Dirent, Stats } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDicomFile } from '../../dicom/recognise.js';
import { isHiddenName, isImageName, mayBeDicomName } from '../../util/file-names.js';

export interface FoundImage {
  /** Path below the data folder, folder by folder, the file name last. */
  readonly parts: readonly string[];
  readonly path: string;
  /** Size of the file. */
  readonly bytes: number;
}

/** A file or a whole folder that is not used. */
export interface LeftOut {
  /** Path below the data folder with forward slashes; a folder's ends with one. */
  readonly path: string;
  /** Image files a folder holds; 1 for a file. */
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
  readonly leftOut: readonly LeftOut[];
  readonly unreadable: readonly Unreadable[];
}

/** Tables that are read beside the images: not reported as left out. */
const TABLES = /^(boxes\.tsv|(manifest|patients)\.(csv|tsv))$/i;

const HIDDEN = 'hidden or system file';
const NO_IMAGE = 'neither PNG nor JPEG by its extension, nor DICOM';
const NOT_REGULAR = 'not a regular file (FIFO, socket or device)';
const LOOP = 'link to a folder that it lies in';

/** The message of a failed file operation, without the path. */
export function systemReason(error: unknown): string {
  const code = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  if (code === 'ENOENT') return 'it does not exist (a link to nothing?)';
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied';
  return error instanceof Error ? error.message : String(error);
}

/** Compares by UTF-16 code units: the order does not depend on the language of the machine. */
export function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

class Walk {
  readonly images: FoundImage[] = [];
  readonly leftOut: LeftOut[] = [];
  readonly unreadable: Unreadable[] = [];

  /** @param ancestors real paths of the folders above and of this one: a link back to one of them is not followed */
  async folder(path: string, parts: readonly string[], ancestors: readonly string[]): Promise<void> {
    let entries: Dirent[];
    try {
      entries = await readdir(path, { withFileTypes: true });
    } catch (error) {
      this.unreadable.push({ parts, reason: systemReason(error) });
      return;
    }
    for (const { name } of entries.sort((a, b) => byCodeUnits(a.name, b.name))) {
      await this.entry(join(path, name), [...parts, name], ancestors);
    }
  }

  private async entry(path: string, parts: readonly string[], ancestors: readonly string[]): Promise<void> {
    const name = parts.at(-1)!;
    if (isHiddenName(name)) return this.skip(parts, HIDDEN);
    let info: Stats;
    try {
      info = await stat(path);
    } catch (error) {
      this.unreadable.push({ parts, reason: systemReason(error) });
      return;
    }
    if (info.isDirectory()) {
      const real = await realpath(path);
      if (ancestors.includes(real)) return this.skip(parts, LOOP);
      return this.folder(path, parts, [...ancestors, real]);
    }
    if (!info.isFile()) return this.skip(parts, NOT_REGULAR);
    if (TABLES.test(name)) return;
    const isImage = isImageName(name) || (mayBeDicomName(name) && (await isDicomFile(path)));
    if (!isImage) return this.skip(parts, NO_IMAGE);
    this.images.push({ parts, path, bytes: info.size });
  }

  private skip(parts: readonly string[], reason: string): void {
    this.leftOut.push({ path: parts.join('/'), files: 1, reason });
  }
}

/** Walks a data folder and its sub-folders. Only files whose names do not tell whether they are DICOM are opened. */
export async function findFiles(directory: string): Promise<FoundFiles> {
  const walk = new Walk();
  await walk.folder(directory, [], [await realpath(directory)]);
  const idOf = ({ parts }: FoundImage): string => parts.join('/');
  return { ...walk, images: walk.images.sort((a, b) => byCodeUnits(idOf(a), idOf(b))) };
}
