// Programs that are built from the Go module proxy, once for every version.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Compiles a third faster than with optimisation; these programs run for a few seconds only. */
export const COMPILE_FAST = '-gcflags=all=-N -l';

/**
 * Path of the built program. Two packages are compiled at a time.
 * @param source such as `helm.sh/helm/v3/cmd/helm@v3.22.0`; @param folder where it is kept
 */
export function goProgram(name, source, folder) {
  const path = join(folder, name);
  const stamp = `${path}.version`;
  if (existsSync(path) && existsSync(stamp) && readFileSync(stamp, 'utf8') === source) return path;
  console.error(`building ${source}`);
  mkdirSync(folder, { recursive: true });
  const env = { ...process.env, GOBIN: folder, GOFLAGS: '-buildvcs=false' };
  execFileSync('go', ['install', '-p', '2', COMPILE_FAST, source], {
    stdio: ['ignore', 2, 2],
    cwd: folder,
    env,
  });
  writeFileSync(stamp, source);
  return path;
}
