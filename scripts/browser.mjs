// `npm run browser`: installs Debian's Chromium if this machine has none. test/slow/report-browser.test.ts opens the HTML
// reports in it.
import { execFileSync, spawnSync } from 'node:child_process';

const PACKAGES = ['chromium', 'fonts-dejavu-core'];

/** Path of the browser's program; undefined if this machine has none. */
export function browserPath() {
  const { status, stdout } = spawnSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

/** Installs the browser if it is missing; throws where this machine cannot. */
export function ensureBrowser() {
  if (browserPath() !== undefined) return;
  const options = { stdio: ['ignore', 2, 2], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  execFileSync('apt-get', ['update', '-qq'], options);
  execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...PACKAGES], options);
}

if (process.argv[1] === import.meta.filename) ensureBrowser();
