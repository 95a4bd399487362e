/** Finds whether the files of a bundle may have changed, without reading them; works on network volumes too. */
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Where the folder's link leads, and name, size and time of change of every file in it. Equal signatures mean that
 * nothing was replaced, unless a file was overwritten by one of the same size and time.
 * @returns the system's error as text where the folder cannot be read
 */
export async function signatureOf(directory: string): Promise<string> {
  try {
    const folder = await realpath(directory);
    const lines = [folder];
    for (const name of (await readdir(folder)).sort()) {
      const { size, mtimeMs, ino } = await stat(join(folder, name));
      lines.push(`${name} ${size} ${mtimeMs} ${ino}`);
    }
    return lines.join('\n');
  } catch (error) {
    return (error as Error).message;
  }
}
