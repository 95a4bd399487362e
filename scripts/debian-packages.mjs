// Downloads and unpacks Debian packages without installing them.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Unpacks the files of the packages into `folder`, as if it were the root of the file system. The folder appears when it
 * is complete: an interrupted run leaves no half of a program behind.
 */
export function unpackDebian(names, folder) {
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  const options = { cwd: partial, stdio: ['ignore', 2, 2] };
  const download = () => execFileSync('apt-get', ['download', '-qq', ...names], options);
  try {
    download();
  } catch {
    // The package lists may be outdated or missing.
    execFileSync('apt-get', ['update', '-qq'], options);
    download();
  }
  for (const file of readdirSync(partial).filter((each) => each.endsWith('.deb'))) {
    execFileSync('dpkg', ['-x', file, '.'], options);
    rmSync(join(partial, file));
  }
  rmSync(folder, { recursive: true, force: true });
  renameSync(partial, folder);
}
