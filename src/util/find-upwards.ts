import { dirname } from 'node:path';

/** The nearest folder, `start` itself or one above it, for which `accept` holds; undefined where none does. */
export function findUpwards(start: string, accept: (folder: string) => boolean): string | undefined {
  for (let folder = start; ; ) {
    if (accept(folder)) return folder;
    const parent = dirname(folder);
    if (parent === folder) return undefined;
    folder = parent;
  }
}
