// `npm pack` of the main package runs this before (prepack) and after (postpack): a fresh build, and an
// npm-shrinkwrap.json beside it while the archive is made. The shrinkwrap pins what an installation gets to the
// versions and hashes of package-lock.json, and like it runs no dependency's install script (scripts/supply/lock.mjs).
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, install, root } from '../prepare.mjs';
import { productionLock } from '../supply/lockfile.mjs';

const shrinkwrap = join(root, 'npm-shrinkwrap.json');
const [event] = process.argv.slice(2);

if (event === 'prepack') {
  install();
  // Without what earlier builds left of sources that are gone.
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  build();
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  writeFileSync(shrinkwrap, `${JSON.stringify(productionLock(lock), null, 2)}\n`);
} else if (event === 'postpack') {
  rmSync(shrinkwrap, { force: true });
} else {
  console.error('usage: main.mjs prepack|postpack');
  process.exit(2);
}
