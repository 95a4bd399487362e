// Downloads and unpacks Debian packages without installing them.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Unpacks the files of the packages into `folder`, as if it were the root of the file system. */
export function unpackDebian(names, folder) {
  mkdirSync(folder, { recursive: true });
  const options = { cwd: folder, stdio: ['ignore', 2, 2] };
  const download = () => execFileSync('apt-get', ['download', '-qq', ...names], options);
  try {
    download();
  } catch {
    // The package lists may be outdated or missing.
    execFileSync('apt-get', ['update', '-qq'], options);
    download();
  }
  for (const file of readdirSync(folder).filter((each) => each.endsWith('.deb'))) {
    execFileSync('dpkg', ['-x', file, '.'], options);
    rmSync(join(folder, file));
  }
}
