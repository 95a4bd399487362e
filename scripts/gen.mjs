// Generates src/gen and proto/descriptors.binpb from proto/ with buf; --check fails where the committed output differs.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const check = process.argv.includes('--check');
const out = mkdtempSync(join(tmpdir(), 'salad-gen-'));
const buf = (...args) => execFileSync('node_modules/.bin/buf', args, { stdio: 'inherit' });

buf('generate', '--output', out);
const fresh = join(out, 'src/gen');
if (check) {
  try {
    execFileSync('diff', ['-r', fresh, 'src/gen'], { stdio: 'inherit' });
  } catch {
    console.error('src/gen is not what proto/ generates: run `npm run gen` and commit the result.');
    process.exitCode = 1;
  }
} else {
  rmSync('src/gen', { recursive: true, force: true });
  cpSync(fresh, 'src/gen', { recursive: true });
}

// What server reflection offers: our services and error details, and the two services of packages. Encoded sets of files
// that are written one after another are one set.
const DESCRIPTORS = 'proto/descriptors.binpb';
const SETS = [
  ['proto', '--path', 'proto/salad', '--path', 'proto/google'],
  ['node_modules/grpc-health-check/proto'],
  ['node_modules/@grpc/reflection/build/proto/grpc'],
];
const sets = SETS.map((input, index) => {
  const file = join(out, `${index}.binpb`);
  buf('build', ...input, '--as-file-descriptor-set', '--output', file);
  return readFileSync(file);
});
const descriptors = Buffer.concat(sets);
if (!check) writeFileSync(DESCRIPTORS, descriptors);
else if (!readFileSync(DESCRIPTORS).equals(descriptors)) {
  console.error(`${DESCRIPTORS} is not what proto/ generates: run \`npm run gen\` and commit the result.`);
  process.exitCode = 1;
}
rmSync(out, { recursive: true, force: true });
