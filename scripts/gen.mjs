// Generates src/gen from proto/ with buf and ts-proto; --check fails if the committed files differ.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const check = process.argv.includes('--check');
const out = mkdtempSync(join(tmpdir(), 'salad-gen-'));
execFileSync('node_modules/.bin/buf', ['generate', '--output', out], { stdio: 'inherit' });
const fresh = join(out, 'src/gen');
if (check) {
  try {
    execFileSync('diff', ['-r', fresh, 'src/gen'], { stdio: 'inherit' });
  } catch {
    console.error(
      'src/gen differs from the output generated from proto/: run `npm run gen` and commit the result.',
    );
    process.exitCode = 1;
  }
} else {
  rmSync('src/gen', { recursive: true, force: true });
  cpSync(fresh, 'src/gen', { recursive: true });
}
rmSync(out, { recursive: true, force: true });
