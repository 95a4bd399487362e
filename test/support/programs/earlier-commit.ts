/** Files of the commit that later ones must go on working with: its clients, its bundles, what its commands print. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../root.js';

export const EARLIER_COMMIT = 'a5dfe9e';

/**
 * Writes files of the commit into a new folder below the checkout, so that sources find the installed packages. Skips,
 * and prints why, where the clone does not have the commit.
 * @returns the folder
 */
export function earlierFiles(context: Mocha.Context, name: string, ...paths: readonly string[]): string {
  const commit = `${EARLIER_COMMIT}^{commit}`;
  if (spawnSync('git', ['cat-file', '-e', commit], { cwd: root }).status !== 0) {
    console.log(`    skipped: this clone does not have the commit ${EARLIER_COMMIT} (git fetch --unshallow)`);
    context.skip();
  }
  const folder = join(root, '.cache', name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const archive = join(folder, 'files.tar');
  const options = { cwd: root, maxBuffer: 1 << 28 };
  writeFileSync(archive, execFileSync('git', ['archive', EARLIER_COMMIT, ...paths], options));
  execFileSync('tar', ['-xf', archive, '-C', folder]);
  rmSync(archive);
  return folder;
}
