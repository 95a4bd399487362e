/** Data sets beside the checkout. They are not part of the project, so that CI may lack them, too. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../root.js';

export const SHARED_DATA = join(root, '../shared/data');

/** Skips, and prints that it does, where the folder is missing. */
export function needsData(context: Mocha.Context, folder: string): void {
  if (existsSync(folder)) return;
  console.log(`      skipped: ${folder} does not exist`);
  context.skip();
}

/** Paths of the first radiographs of a folder. Skips where the folder is missing. */
export function radiographs(context: Mocha.Context, folder: string, count: number): readonly string[] {
  const path = join(SHARED_DATA, folder);
  needsData(context, path);
  const names = readdirSync(path).filter((name) => name.endsWith('.png'));
  return names
    .sort()
    .slice(0, count)
    .map((name) => join(path, name));
}
