/** Writes phantoms with `salad phantom`. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../../src/util/package-root.js';

/** @param args of `salad phantom`, without `--out` */
export function writePhantoms(folder: string, ...args: readonly string[]): void {
  const program = join(packageRoot(), 'dist/src/main.js');
  execFileSync(process.execPath, [program, 'phantom', '--out', folder, ...args], { stdio: 'ignore' });
}
