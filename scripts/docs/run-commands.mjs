// Runs every ```sh block of README.md, CONTRIBUTING.md and docs/ in order, so that every command in the docs is tested.
// A block is one bash script (set -e) in the checkout; blocks of other languages are not run.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, install, root } from '../prepare.mjs';

install();
build();
const pages = readdirSync(join(root, 'docs'), { recursive: true })
  .filter((file) => file.endsWith('.md') && !file.startsWith('results'))
  .sort();
const files = ['README.md', 'CONTRIBUTING.md', ...pages.map((file) => join('docs', file))];
const only = process.argv[2];
/** A short run of one benchmark suite: the step `bench` of CI runs every suite in this way. */
const QUICK_BENCH = /^npm run -s bench -- --suite [a-z-]+ --quick$/;

function withoutBench(block) {
  return block
    .split('\n')
    .map((line) => (QUICK_BENCH.test(line) ? `echo 'the step bench runs: ${line}'` : line))
    .join('\n');
}

const failures = [];

/** @returns whether the block ended with exit code 0 */
function run(file, script) {
  console.log(`\n--- ${file}\n${script.trimEnd()}`);
  const startMs = Date.now();
  const { status } = spawnSync('bash', ['-euo', 'pipefail', '-c', withoutBench(script)], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  console.log(`--- ${file}: ${((Date.now() - startMs) / 1000).toFixed(0)} s`);
  if (status !== 0) failures.push(`${file}: this block failed with exit code ${status}:\n${script}`);
  return status === 0;
}

let passed = 0;
let failed = 0;
/** Blocks that failed once and passed when they were run again. */
let passedAgain = 0;
for (const file of files) {
  if (only && file !== only) continue;
  for (const match of readFileSync(join(root, file), 'utf8').matchAll(/^```sh\n([\s\S]*?)^```$/gm)) {
    const script = match[1];
    if (run(file, script)) {
      passed++;
      continue;
    }
    // Some blocks download from a registry, which may fail once.
    console.log(`--- ${file}: the block failed; this is its second try`);
    if (run(file, script)) {
      passed++;
      passedAgain++;
      console.log(`--- ${file}: passed (two tries)`);
    } else failed++;
  }
}
// After all other output, of which CI may show the end only.
for (const failure of failures) console.error(failure);
console.log(`docs: ${passed} passed (${passedAgain} of them with two tries), ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
