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

/** @returns whether the block ended with exit code 0 */
function run(file, script) {
  console.log(`\n--- ${file}\n${script.trimEnd()}`);
  const startMs = Date.now();
  const { status } = spawnSync('bash', ['-euo', 'pipefail', '-c', withoutBench(script)], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  console.log(`--- ${file}: ${((Date.now() - startMs) / 1000).toFixed(0)} s`);
  if (status !== 0) console.error(`${file}: this block failed with exit code ${status}`);
  return status === 0;
}

let passed = 0;
/** Of the passed ones those that failed once. */
let passedAgain = 0;
const failed = [];
for (const file of files) {
  if (only && file !== only) continue;
  for (const match of readFileSync(join(root, file), 'utf8').matchAll(/^```sh\n([\s\S]*?)^```$/gm)) {
    const script = match[1];
    // Some blocks download from a registry, which may fail once.
    const tries = [1, 2].find(() => run(file, script));
    if (tries === undefined) failed.push(`${file}: this block failed:\n${script}`);
    else passed++;
    if (tries === 2) passedAgain++;
  }
}
// After all other output, of which CI may show the end only.
for (const block of failed) console.error(block);
console.log(`docs: ${passed} passed (${passedAgain} of them with two tries), ${failed.length} failed`);
process.exitCode = failed.length === 0 ? 0 : 1;
