// Files of Debian packages, downloaded and unpacked; nothing is installed.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Leaves what the packages hold in `folder`, as if that were the root of the file system. */
export function unpackDebian(names, folder) {
  mkdirSync(folder, { recursive: true });
  const options = { cwd: folder, stdio: ['ignore', 2, 2] };
  const download = () => execFileSync('apt-get', ['download', '-qq', ...names], options);
  try {
    download();
  } catch {
    // The package lists may be old, or not there yet.
    execFileSync('apt-get', ['update', '-qq'], options);
    download();
  }
  for (const file of readdirSync(folder).filter((each) => each.endsWith('.deb'))) {
    execFileSync('dpkg', ['-x', file, '.'], options);
    rmSync(join(folder, file));
  }
}
