// `node scripts/run.mjs salad|salad-modality|demo|bench|test|test-slow [ARGS]`: installs and builds if needed, then
// runs the program.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, install, root } from './prepare.mjs';

const [verb, ...args] = process.argv.slice(2);
/**
 * Runs of mocha by verb, one after the other, as their arguments. Two files run at once, except those that measure time
 * or load.
 */
const AT_ONCE = ['--parallel', '--jobs', '2'];
const TESTS = {
  test: [[...AT_ONCE, 'test/integration/**/*.test.ts', 'test/unit/**/*.test.ts']],
  'test-slow': [
    [...AT_ONCE, '--ignore', 'test/slow/alone/**', 'test/e2e/**/*.test.ts', 'test/slow/**/*.test.ts'],
    ['test/slow/alone/**/*.test.ts'],
  ],
};

/** Built programs by verb; every other verb is `salad`. */
const PROGRAMS = { bench: 'dist/bench/main.js', 'salad-modality': 'dist/clients/modality/src/main.js' };

try {
  install();
  build();
} catch {
  console.error('salad: installing or building failed; see the lines above for the reason.');
  process.exit(1);
}

if (verb in TESTS) {
  const named = args.some((arg) => arg.endsWith('.ts'));
  // Files that run at once must not prepare the same tool at once.
  if (verb === 'test-slow' && !named) await import('./tools.mjs');
  const runs = named ? [[]] : TESTS[verb];
  // Not `process.exit`, which would cut off output that is not written yet.
  for (const run of runs) process.exitCode = (await runTests([...run, ...args])) || process.exitCode;
} else {
  await runProgram();
}

/** Runs in this process, so that signals reach the program and its exit code is that of the process. */
async function runProgram() {
  // npm runs a script in the root of the checkout, but paths on the command line are relative to the folder of the
  // caller. The name is compared because an outer `npm run` of another script may have set the variable.
  const { INIT_CWD, npm_lifecycle_event: script } = process.env;
  if (INIT_CWD && script === verb) process.chdir(INIT_CWD);
  const path = join(root, PROGRAMS[verb] ?? 'dist/src/main.js');
  process.argv = [process.argv[0], path, ...(verb === 'demo' ? ['demo'] : []), ...args];
  await import(pathToFileURL(path).href);
}

/** @returns 0 where all passed */
async function runTests(mochaArgs) {
  const mocha = join(root, 'node_modules/mocha/bin/mocha.js');
  const child = spawn(process.execPath, [mocha, ...mochaArgs], { cwd: root, stdio: 'inherit' });
  const [code] = await once(child, 'close');
  return code ?? 1;
}
