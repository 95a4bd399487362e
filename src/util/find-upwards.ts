import { dirname } from 'node:path';

/** The first folder that matches: `start`, else its parent, and so on up to the root. Undefined where none matches. */
export function findUpwards(start: string, matches: (folder: string) => boolean): string | undefined {
  for (let folder = start; ; ) {
    if (matches(folder)) return folder;
    const parent = dirname(folder);
    if (parent === folder) return undefined;
    folder = parent;
  }
}
