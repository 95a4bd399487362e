/** The files of a watched folder: which there are, and the name under which one is taken. */
import { randomUUID } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { readdir, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Folder in a watched folder for what cannot be kept. */
export const REFUSED = 'refused';

/** Names that `claim` gives. */
const CLAIMED = /^\.salad-[0-9a-f-]{36}-/;
/** Names by which programs mark a file that they are still writing. */
const UNFINISHED = /^\.|\.(tmp|part|partial|filepart|crdownload)$/i;
/** Bytes of a name that a claimed file can keep: it has 255 at most, and a UTF-16 code unit has three at most. */
const NAME_BYTES = 210;

export interface FoundFiles {
  readonly files: readonly string[];
  readonly hasRefused: boolean;
  /** Why files may be missing in the list, without the name of any; undefined where everything was read. */
  readonly fault: string | undefined;
}

/** Reads one folder. */
export type ReadFolder = (path: string) => Promise<Dirent[]>;

export const readFolder: ReadFolder = (path) => readdir(path, { withFileTypes: true });

/** Finds the files in a folder and in those below, except `refused/`. Never rejects. */
export async function findFiles(root: string, read: ReadFolder): Promise<FoundFiles> {
  const entries = await entriesOf(root, read);
  if (typeof entries === 'string') {
    return { files: [], hasRefused: false, fault: `it cannot be read (${entries})` };
  }
  const files: string[] = [];
  let fault: string | undefined;
  const others = entries.filter(({ name }) => name !== REFUSED);
  const hasRefused = others.length < entries.length;
  for (let entry = others.pop(); entry !== undefined; entry = others.pop()) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && (CLAIMED.test(entry.name) || !UNFINISHED.test(entry.name))) files.push(path);
    if (!entry.isDirectory()) continue;
    const below = await entriesOf(path, read);
    if (typeof below !== 'string') for (const each of below) others.push(each);
    // Without an entry it was removed meanwhile, which its writer may do.
    else if (below !== 'ENOENT') fault = `a folder in it cannot be read (${below})`;
  }
  return { files: files.sort(), hasRefused, fault };
}

/** @returns the code of the error where the folder cannot be read */
async function entriesOf(path: string, read: ReadFolder): Promise<Dirent[] | string> {
  return read(path).catch(({ code }: NodeJS.ErrnoException) => code ?? 'unknown');
}

/**
 * Renames a file, so that what is read later is what is removed later: no writer knows the new name, and one that uses
 * the old name again creates another file. To compare inode and times before the removal would not do: another machine
 * may replace the file between the comparison and the removal; on network volumes attributes come from a cache for up to
 * a minute, and on some an inode has no fixed number. A rename within a folder is atomic on NFS and SMB; SMB refuses it
 * while a program has the file open. A file with a claimed name is found again, also after `kill -9`.
 * @returns the path
 */
export async function claim(path: string): Promise<string> {
  const name = basename(path);
  if (CLAIMED.test(name)) return path;
  const kept = Buffer.byteLength(name) <= NAME_BYTES ? name : name.slice(-NAME_BYTES / 3);
  const claimed = join(dirname(path), `.salad-${randomUUID()}-${kept}`);
  await rename(path, claimed);
  return claimed;
}

/** The name that a file had before it was claimed; of a very long one the end. */
export function unclaimedName(path: string): string {
  return basename(path).replace(CLAIMED, '');
}
