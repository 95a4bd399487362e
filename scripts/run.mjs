// `node scripts/run.mjs salad|salad-modality|demo|bench|test|test-slow [ARGS]`: installs and builds if needed, then
// runs the program.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, install, root } from './prepare.mjs';

const [verb, ...args] = process.argv.slice(2);
/** Test files by verb. The groups of a verb run at the same time: a unit test computes, an integration test waits. */
const TESTS = {
  test: [['test/integration/**/*.test.ts'], ['test/unit/**/*.test.ts']],
  'test-slow': [['test/slow/**/*.test.ts', 'test/e2e/**/*.test.ts']],
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
  const groups = args.some((arg) => arg.endsWith('.ts')) ? [[]] : TESTS[verb];
  // Not `process.exit`, which would cut off output that is not written yet.
  process.exitCode = await runTests(groups, args);
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

/** Prints the first group as it runs, and each other one after it. @returns 0 where all passed */
async function runTests(groups, args) {
  const mocha = join(root, 'node_modules/mocha/bin/mocha.js');
  const runs = groups.map((files, index) => {
    const stdio = index === 0 ? 'inherit' : ['ignore', 'pipe', 'pipe'];
    const child = spawn(process.execPath, [mocha, ...files, ...args], { cwd: root, stdio });
    const output = [];
    child.stdout?.on('data', (data) => output.push(data));
    child.stderr?.on('data', (data) => output.push(data));
    return { output, ended: once(child, 'close') };
  });
  const codes = [];
  for (const { output, ended } of runs) {
    const [code] = await ended;
    for (const data of output) process.stdout.write(data);
    codes.push(code ?? 1);
  }
  return codes.find((code) => code !== 0) ?? 0;
}
