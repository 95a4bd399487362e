// Makes a fresh clone runnable: installs the packages of the lock file and builds the sources. Both are skipped if they
// are up to date, so that the usual cost is a few milliseconds.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './root.mjs';

export { root };

const mtime = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

function newest(directory) {
  let latest = 0;
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && entry.name.endsWith('.ts')) {
      latest = Math.max(latest, mtime(join(entry.parentPath, entry.name)));
    }
  }
  return latest;
}

/** Settings of an npm that called this script (`npm pack --dry-run --json`), which must not apply to npm called here. */
const CALLER_SETTINGS =
  /^npm_config_(dry_run|json|global|location|prefix|local_prefix|pack_destination|workspaces?|omit|include|only|ignore_scripts)$/i;

/** Runs a tool in the root folder with its output on stderr, because stdout is for the output of the caller. */
export function run(command, args) {
  const inherited = Object.entries(process.env).filter(([name]) => !CALLER_SETTINGS.test(name));
  execFileSync(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    env: { ...Object.fromEntries(inherited), npm_config_loglevel: 'error' },
    shell: process.platform === 'win32',
  });
}

/** Installs the packages if package-lock.json is newer than the last installation. */
export function install() {
  const stamp = join(root, 'node_modules/.salad-installed');
  if (mtime(stamp) >= mtime(join(root, 'package-lock.json')) && mtime(stamp) > 0) return;
  console.error('salad: installing packages (npm ci) ...');
  // Without install scripts of packages: they download from outside the registry, or do nothing.
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
  writeFileSync(stamp, '');
}

/** Compiles the sources if one is newer than the last build. */
export function build() {
  const stamp = join(root, 'dist/.salad-built');
  const sources = Math.max(
    ...['src', 'workers', 'clients/typescript/src', 'clients/load/src', 'clients/modality/src', 'bench'].map(
      (d) => newest(join(root, d)),
    ),
  );
  if (mtime(stamp) >= Math.max(sources, mtime(join(root, 'tsconfig.build.json')))) return;
  console.error('salad: building ...');
  // The stamp has the time before the build, so that a file saved during the build is compiled next time.
  const before = new Date();
  run('node', ['node_modules/typescript-native/bin/tsc', '-p', 'tsconfig.build.json']);
  writeFileSync(stamp, '');
  utimesSync(stamp, before, before);
}
