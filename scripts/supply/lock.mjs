// `node scripts/supply/lock.mjs`: completes package-lock.json after npm has changed it: adds missing integrity hashes from
// the registry, and makes sure that no install script of a dependency runs. `--check` fails if something is missing.
// Needs an installed node_modules.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { install, root } from '../prepare.mjs';
import { denyScripts, lockFaults } from './lockfile.mjs';

const file = join(root, 'package-lock.json');
const hasBinding = (path) => existsSync(join(root, path, 'binding.gyp'));

function integrityOf(path, version) {
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  return execFileSync('npm', ['view', `${name}@${version}`, 'dist.integrity'], { encoding: 'utf8' }).trim();
}

install();
const lock = JSON.parse(readFileSync(file, 'utf8'));
if (process.argv.includes('--check')) {
  const faults = lockFaults(lock, hasBinding);
  for (const fault of faults) console.error(`lock: ${fault}`);
  console.log(`lock: ${Object.keys(lock.packages).length} entries, ${faults.length} faults`);
  if (faults.length > 0) console.error('lock: run `node scripts/supply/lock.mjs` and commit the result.');
  process.exitCode = faults.length === 0 ? 0 : 1;
} else {
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (path !== '' && !entry.integrity) entry.integrity = integrityOf(path, entry.version);
  }
  denyScripts(lock, hasBinding);
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
}
