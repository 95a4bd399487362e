// `node scripts/run.mjs salad|salad-modality|demo|bench|test|test-slow [ARGS]`: installs and builds if needed, then runs the program.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, install, root } from './prepare.mjs';

const [verb, ...args] = process.argv.slice(2);
const TESTS = {
  test: ['test/unit/**/*.test.ts', 'test/integration/**/*.test.ts'],
  'test-slow': ['test/slow/**/*.test.ts', 'test/e2e/**/*.test.ts'],
};

try {
  install();
  build();
} catch {
  console.error('salad: installing or building failed; see the lines above for the reason.');
  process.exit(1);
}

if (verb in TESTS) {
  const mocha = join(root, 'node_modules/mocha/bin/mocha.js');
  const specs = args.some((arg) => arg.endsWith('.ts')) ? [] : TESTS[verb];
  const result = spawnSync(process.execPath, [mocha, ...specs, ...args], {
    cwd: root,
    stdio: 'inherit',
  });
  process.exit(result.status ?? 1);
}

// npm runs a script in the root of the checkout, but paths on the command line are relative to the folder of the caller.
// The name is compared because an outer `npm run` of another script may have set the variable.
const { INIT_CWD, npm_lifecycle_event: script } = process.env;
if (INIT_CWD && script === verb) process.chdir(INIT_CWD);
// Runs in this process, so that signals reach the program and its exit code is that of the process.
const PROGRAMS = { bench: 'dist/bench/main.js', 'salad-modality': 'dist/clients/modality/src/main.js' };
const program = PROGRAMS[verb] ?? 'dist/src/main.js';
const path = join(root, program);
process.argv = [process.argv[0], path, ...(verb === 'demo' ? ['demo'] : []), ...args];
await import(pathToFileURL(path).href);
