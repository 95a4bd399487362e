// Makes a fresh clone runnable: installs what the lockfile names, builds what the sources say. Both are
// skipped when they are up to date, so that the everyday cost is a few milliseconds.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
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

/** Runs a tool with its output on stderr: stdout belongs to the verb. */
function run(command, args) {
  execFileSync(command, args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    // onnxruntime-node's install script fetches CUDA libraries from outside the registry; the CPU library
    // is in the package. See docs/explanation/engines.md for how to run it by hand.
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip', npm_config_loglevel: 'error' },
    shell: process.platform === 'win32',
  });
}

export function install() {
  const stamp = join(root, 'node_modules/.salad-installed');
  if (mtime(stamp) >= mtime(join(root, 'package-lock.json')) && mtime(stamp) > 0) return;
  console.error('salad: installing packages (npm ci) ...');
  run('npm', ['ci', '--no-audit', '--no-fund']);
  writeFileSync(stamp, '');
}

export function build() {
  const stamp = join(root, 'dist/.salad-built');
  const sources = Math.max(
    ...['src', 'workers', 'clients/typescript/src', 'clients/load/src', 'bench'].map((d) =>
      newest(join(root, d)),
    ),
  );
  if (mtime(stamp) >= Math.max(sources, mtime(join(root, 'tsconfig.build.json')))) return;
  console.error('salad: building ...');
  // The stamp carries the time before the build: a file saved during it is built next time.
  const before = new Date();
  run('node', ['node_modules/typescript-native/bin/tsc', '-p', 'tsconfig.build.json']);
  writeFileSync(stamp, '');
  utimesSync(stamp, before, before);
}
