/** How many files and sockets this process may have open at once. */
import { readFileSync } from 'node:fs';

/** Loading the program and a few models takes about 160 at once. */
export const OPEN_FILES_MIN = 256;

/** @returns undefined where the limit is unknown: it is read on Linux only */
export function openFilesMax(): number | undefined {
  let limits: string;
  try {
    limits = readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return undefined;
  }
  const [, soft] = /^Max open files\s+(\d+)/m.exec(limits) ?? [];
  return soft === undefined ? undefined : Number(soft);
}
