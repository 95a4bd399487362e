// Compiles the Go client and its tests with the race detector, so that the tests start at once.
import { execFileSync } from 'node:child_process';
import { devNull } from 'node:os';
import { join } from 'node:path';
import { COMPILE_FAST } from '../go-program.mjs';
import { root } from '../root.mjs';

/** Arguments of `go` before those of a run. */
export const testArguments = ['test', '-race', COMPILE_FAST];

/** Fetches the modules and fills Go's build cache. */
export function compileGoClient() {
  const options = { cwd: join(root, 'clients/go'), stdio: ['ignore', 2, 2] };
  execFileSync('go', ['mod', 'tidy', '-diff'], options);
  execFileSync('go', ['vet', './...'], options);
  execFileSync('go', [...testArguments, '-c', '-o', devNull, '.'], options);
}
