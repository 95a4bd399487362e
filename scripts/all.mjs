// `npm run all` runs the steps of CI. A failed step does not stop the others; a table at the end lists all results.
// `npm run all -- STEP ...` runs only the named steps.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { setPriority } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as after } from 'node:timers/promises';
import { otherNode } from './other-node.mjs';
import { build, install, root } from './prepare.mjs';

const node = process.execPath;
const local = (name, script) => [node, join(root, 'node_modules', name, script)];
const biome = [node, 'node_modules/@biomejs/biome/bin/biome'];
const buf = ['node_modules/.bin/buf'];
const tsc = local('typescript-native', 'bin/tsc');
const c8 = local('c8', 'bin/c8.js');

/**
 * The fast suite runs on this Node, its integration tests also on the newest maintained major version, the slow suite on
 * the version between them. Node 20 is no longer maintained, and is tested as long as `engines` allows it.
 */
const currentMajor = Number(process.versions.node.split('.')[0]);
const FAST = currentMajor >= 24 ? 20 : 24;
const SLOW = currentMajor === 22 ? 20 : 22;

/** Time limit of a step: a step that never ends would hide the results of all others. */
const MINUTES = 20;

/** Compiled JavaScript of Node 22 and later, which saves a quarter of a second of every process that a test starts. */
const compileCache = join(root, '.cache/compiled');

/** Folder for the raw coverage data of the fast suite, which the step `coverage` reads. */
const coverageData = join(root, 'coverage/tmp');

/**
 * Steps in the order in which they run: cheap steps that find many faults come first.
 * - `node`: major version to run on, instead of this one.
 * - `fetches`: downloads from a registry, which may fail once: such a step has a second try. A step that tests has none.
 * - `background`: starts in its place, at low priority, and runs beside the next steps until a step that is `quiet`.
 * - `quiet`: measures time or depends on a clock, so that nothing else runs beside it.
 * - `minutes`: the longest it may take, instead of `MINUTES`.
 */
const STEPS = [
  { name: 'lint', run: [...biome, 'ci', '--colors=off', '.'] },
  { name: 'lint:types', run: [...local('eslint', 'bin/eslint.js'), '.'] },
  { name: 'typecheck', run: [...tsc, '-p', 'tsconfig.json', '--noEmit'] },
  { name: 'proto:lint', run: [...buf, 'lint'] },
  { name: 'proto:breaking', run: [...buf, 'breaking', '--against', 'proto/breaking-baseline.binpb'] },
  { name: 'gen:check', run: [node, 'scripts/gen.mjs', '--check'] },
  { name: 'client:build', run: [...tsc, '-p', 'clients/typescript/tsconfig.json'] },
  { name: 'lock', run: [node, 'scripts/supply/lock.mjs', '--check'] },
  { name: 'docs:check', run: [node, 'scripts/docs/generate.mjs', '--check'] },
  { name: 'test', run: ['npm', 'test'], env: { NODE_V8_COVERAGE: coverageData }, quiet: true },
  { name: 'coverage', run: [...c8, 'report', '--check-coverage', '--temp-directory', coverageData] },
  { name: 'tools', run: [node, 'scripts/tools.mjs'], fetches: true, background: true, minutes: 40 },
  { name: 'audit', run: [node, 'scripts/supply/audit.mjs'], fetches: true },
  { name: 'sbom', run: [node, 'scripts/supply/sbom.mjs', '--check'], fetches: true },
  { name: 'onnx:check', run: [node, 'scripts/engines/onnx-check.mjs'], fetches: true },
  { name: 'engines:tensorflow', run: [node, 'scripts/engines/tensorflow.mjs'], fetches: true },
  { name: 'engines:openvino', run: [node, 'scripts/engines/openvino.mjs'], fetches: true },
  { name: 'engines:swiftshader', run: [node, 'scripts/engines/swiftshader.mjs'], fetches: true },
  { name: 'node', run: [node, 'scripts/other-node.mjs', String(FAST), String(SLOW)], fetches: true },
  // The tools are built beside it, at low priority.
  {
    name: `test:node${FAST}`,
    run: ['node', 'scripts/run.mjs', 'test', '--parallel', '--jobs', '2', 'test/integration/**/*.test.ts'],
    node: FAST,
  },
  { name: 'gpu:build', run: [node, 'scripts/gpu/build.mjs', '--fast'], fetches: true },
  { name: 'gpu', run: [node, 'scripts/gpu/check.mjs'] },
  { name: 'helm', run: [node, 'scripts/helm/check.mjs'], quiet: true },
  { name: 'helm:api', run: [node, 'scripts/helm/cluster.mjs'] },
  { name: 'container:build', run: [node, 'scripts/container/build.mjs', 'cpu', 'modality'], fetches: true },
  { name: 'container', run: [node, 'scripts/container/check.mjs'], quiet: true },
  { name: 'test:slow', run: ['node', 'scripts/run.mjs', 'test-slow'], node: SLOW, quiet: true, minutes: 40 },
  // Short runs, which only show that the suites work: their figures mean nothing.
  {
    name: 'bench',
    run: [node, 'scripts/run.mjs', 'bench', '--suite', 'all', '--quick', '--json'],
    fetches: true,
    background: true,
    minutes: 40,
  },
  { name: 'docs', run: [node, 'scripts/docs/run-commands.mjs'], minutes: 40 },
  {
    name: 'bench:modality',
    run: [node, 'scripts/run.mjs', 'bench', '--suite', 'modality', '--quick', '--json'],
    quiet: true,
  },
];

const requested = process.argv.slice(2);
const unknown = requested.filter((name) => !STEPS.some((step) => step.name === name));
if (unknown.length > 0) {
  console.error(
    `all: unknown step ${unknown.join(', ')}; steps: ${STEPS.map(({ name }) => name).join(', ')}`,
  );
  process.exit(2);
}
// The tests produce the coverage data.
if (requested.includes('coverage')) requested.push('test');

/** Processes of the running steps, each the leader of a process group. */
const running = new Set();
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    for (const child of running) killGroup(child);
    process.kill(process.pid, signal);
  });
}

install();
build();
rmSync(coverageData, { recursive: true, force: true });
const results = [];
let backgroundStep = Promise.resolve();
for (const step of STEPS) {
  if (requested.length > 0 && !requested.includes(step.name)) continue;
  if (step.background) {
    console.log(`\n=== ${step.name}: runs beside the next steps`);
    backgroundStep = perform(step);
    continue;
  }
  if (step.quiet) await backgroundStep;
  await perform(step);
}
await backgroundStep;

console.log('\n=== steps');
for (const { name, passed, seconds, tries, background } of results) {
  const notes = `${tries.length > 1 ? '  (two tries)' : ''}${background ? '  (beside others)' : ''}`;
  console.log(
    `${passed ? 'ok    ' : 'FAILED'} ${name.padEnd(18)} ${seconds.toFixed(1).padStart(7)} s${notes}`,
  );
}
for (const { name, tries } of results) {
  for (const { lastLines } of tries.filter(({ status }) => status !== 0)) {
    console.log(`=== ${name} failed; its last lines:`);
    for (const line of lastLines) console.log(`  ${line.slice(0, 300)}`);
  }
}
const failed = results.filter((result) => !result.passed);
console.log(`steps: ${results.length - failed.length} passed, ${failed.length} failed`);
process.exitCode = failed.length === 0 ? 0 : 1;

/** Runs a step, a second time if it fetches and failed, and adds its result to `results`. */
async function perform(step) {
  const startMs = Date.now();
  const tries = [];
  do tries.push(await runOnce(step));
  while (tries.at(-1).status !== 0 && step.fetches && tries.length < 2);
  const passed = tries.at(-1).status === 0;
  const { name, background = false } = step;
  results.push({ name, passed, seconds: (Date.now() - startMs) / 1000, tries, background });
}

/**
 * The environment of this process, with the Node version of the step first in PATH. With `CI` a test whose program or
 * right is missing fails instead of being skipped; some programs write colours then, unless `NO_COLOR` is set.
 */
function environmentOf({ node: major, env = {} }) {
  const all = { CI: 'true', NO_COLOR: '1', ...process.env, ...env };
  if (major === undefined) return all;
  return {
    ...all,
    NODE_COMPILE_CACHE: compileCache,
    PATH: `${dirname(otherNode(major))}${delimiter}${process.env.PATH}`,
  };
}

/** Runs a step, shows its output, and returns its last lines, because a long log of CI may be truncated. */
async function runOnce(step) {
  const [first, ...args] = step.run;
  const command = step.node === undefined ? first : otherNode(step.node);
  const title = `\n=== ${step.name}: ${step.run.join(' ')}`;
  if (!step.background) console.log(title);
  const child = spawn(command, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: environmentOf(step),
    detached: true,
  });
  running.add(child);
  let tail = '';
  // Failed tests, which the reporter of mocha names at the end of a run; a step may have several runs.
  const failedTests = [];
  // The output of a background step, printed as a whole at its end.
  let buffered = '';
  for (const [from, to] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ]) {
    from.on('data', (chunk) => {
      if (step.background) buffered += chunk;
      else to.write(chunk);
      tail = (tail + chunk).slice(-4096);
    });
    createInterface({ input: from }).on('line', (line) => {
      if (/^mocha: (FAILED|TRIED AGAIN)/.test(line)) failedTests.push(line);
    });
  }
  if (step.background && child.pid !== undefined) setPriority(child.pid, 15);
  const closed = new Promise((resolve) => child.once('close', resolve));
  const minutes = step.minutes ?? MINUTES;
  const deadline = setTimeout(() => {
    tail += `\nstopped: it ran longer than ${minutes} minutes\n`;
    killGroup(child);
  }, minutes * 60_000);
  // A missing command fails only its own step.
  const status = await once(child, 'exit').then(
    ([code]) => code,
    (error) => {
      tail += error.message;
      return null;
    },
  );
  clearTimeout(deadline);
  running.delete(child);
  // A process that the step left running (such as a container monitor) may keep the pipes open forever.
  await Promise.race([closed, after(2000, undefined, { ref: false })]);
  child.stdout.destroy();
  child.stderr.destroy();
  if (step.background) console.log(`${title}\n${buffered}`);
  const lines = tail.split('\n').filter((line) => line.trim() !== '');
  const lastLines = lines.slice(-12);
  return { status, lastLines: [...failedTests.filter((line) => !lastLines.includes(line)), ...lastLines] };
}

/** Ends a step and all processes that it started. */
function killGroup({ pid }) {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}
