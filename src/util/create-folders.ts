/** Creates a folder with its parents. */
import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/**
 * Creates the missing folders one by one, because a recursive `mkdir` never returns on a file system where nothing can be
 * created, such as /proc.
 * @returns the outermost folder that was created; undefined where the folder existed
 * @throws Error of the file system, or where a parent is not a folder
 */
export async function createFolders(folder: string): Promise<string | undefined> {
  const missing: string[] = [];
  let parent = resolve(folder);
  while (!(await exists(parent))) {
    missing.unshift(parent);
    parent = dirname(parent);
  }
  if (!(await stat(parent)).isDirectory()) throw new Error(`${parent} is not a folder`);
  for (const each of missing) {
    await mkdir(each).catch((error: NodeJS.ErrnoException) => {
      // EEXIST: another process has created it at the same time.
      if (error.code !== 'EEXIST') throw error;
    });
  }
  return missing[0];
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
