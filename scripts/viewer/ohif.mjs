// Provides the static build of the OHIF viewer (MIT), of the npm package `@ohif/app`, in .cache/ohif. It is no dependency
// of the project: only the viewer of scripts/viewer/main.mjs and test/slow/modality/viewer.test.ts use it.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../root.mjs';

const VERSION = '3.13.2';
/** Of the package, as the registry gives it. */
const INTEGRITY =
  'sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==';

const home = join(root, '.cache/ohif', VERSION);

/** Folder of the static build; undefined where it is not downloaded. */
export function ohifFolder() {
  const folder = join(home, 'package/dist');
  return existsSync(folder) ? folder : undefined;
}

/** Downloads and unpacks it if it is missing (50 MB, unpacked 165 MB). @returns its folder */
export function ensureOhif() {
  const present = ohifFolder();
  if (present !== undefined) return present;
  console.error(`ohif: downloading @ohif/app ${VERSION} (50 MB)`);
  // Renamed when it is complete, so that a partial download is never used.
  const fresh = `${home}.new`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  const options = { cwd: fresh, stdio: ['ignore', 'pipe', 2], encoding: 'utf8' };
  const name = execFileSync('npm', ['pack', `@ohif/app@${VERSION}`, '--silent'], options).trim();
  const archive = join(fresh, name);
  const hash = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
  if (hash !== INTEGRITY) throw new Error(`@ohif/app ${VERSION} has the hash ${hash}, not ${INTEGRITY}`);
  execFileSync('tar', ['-xzf', name, '--exclude=*.map'], options);
  rmSync(archive);
  renameSync(fresh, home);
  return ohifFolder();
}

if (process.argv[1] === import.meta.filename) console.log(ensureOhif());
