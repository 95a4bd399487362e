// `node scripts/dicom-tools.mjs`: installs Debian's DICOM programs (DCMTK, dicom3tools, Orthanc), strace and faketime
// where this machine has none. test/slow/modality uses them.
import { execFileSync, spawnSync } from 'node:child_process';

const PACKAGES = {
  storescu: ['dcmtk'],
  dciodvfy: ['dicom3tools'],
  strace: ['strace'],
  faketime: ['faketime'],
  Orthanc: ['orthanc', 'orthanc-dicomweb'],
};

/** Path of an installed program; undefined if this machine has none. */
export function installedProgram(name) {
  const { status, stdout } = spawnSync('sh', ['-c', 'command -v "$0"', name], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

/** Installs what is missing; throws where this machine cannot. */
export function ensureDicomTools() {
  const missing = Object.entries(PACKAGES).filter(([name]) => installedProgram(name) === undefined);
  if (missing.length === 0) return;
  const options = { stdio: ['ignore', 2, 2], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  execFileSync('apt-get', ['update', '-qq'], options);
  const packages = missing.flatMap(([, names]) => names);
  execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], options);
}

if (process.argv[1] === import.meta.filename) ensureDicomTools();
