// `npm run all` = what CI runs. Every step runs even where an earlier one failed; the table at the end tells
// all of it at once. `npm run all -- STEP ...` runs only those steps.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { setPriority } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
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
 * The fast suite runs on the Node of this machine and on the newest that is maintained, the slow suite on the one between.
 * Node 20 is past its end, and is tested while `engines` allows it.
 */
const own = Number(process.versions.node.split('.')[0]);
const FAST = own >= 24 ? 20 : 24;
const SLOW = own === 22 ? 20 : 22;

/** The longest that a step may take: one that never ended would hide what all the others found. */
const MINUTES = 15;

/** Where the fast suite leaves what was executed, for the step `coverage`. */
const executed = join(root, 'coverage/tmp');

/**
 * In this order, cheap and telling ones first.
 * - `node`: major version to run on, instead of this one.
 * - `fetches`: gets what a new machine lacks; where a registry did not answer once, it may the second time. No step
 *   that tests has a second try.
 * - `background`: begins at its place, at low priority, while the steps after it run, to the next step that is `quiet`.
 * - `quiet`: measures time, or compares with a clock: nothing else runs beside it.
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
  { name: 'test', run: ['npm', 'test'], env: { NODE_V8_COVERAGE: executed }, quiet: true },
  { name: 'coverage', run: [...c8, 'report', '--check-coverage', '--temp-directory', executed] },
  { name: 'tools', run: [node, 'scripts/tools.mjs'], fetches: true, background: true },
  { name: 'audit', run: [node, 'scripts/supply/audit.mjs'], fetches: true },
  { name: 'sbom', run: [node, 'scripts/supply/sbom.mjs', '--check'], fetches: true },
  { name: 'onnx:check', run: [node, 'scripts/engines/onnx-check.mjs'], fetches: true },
  { name: 'engines:tensorflow', run: [node, 'scripts/engines/tensorflow.mjs'], fetches: true },
  { name: 'engines:openvino', run: [node, 'scripts/engines/openvino.mjs'], fetches: true },
  { name: 'engines:swiftshader', run: [node, 'scripts/engines/swiftshader.mjs'], fetches: true },
  { name: 'node', run: [node, 'scripts/other-node.mjs', String(FAST), String(SLOW)], fetches: true },
  { name: `test:node${FAST}`, run: ['node', 'scripts/run.mjs', 'test'], node: FAST, quiet: true },
  { name: 'helm', run: [node, 'scripts/helm/check.mjs'], quiet: true },
  { name: 'helm:api', run: [node, 'scripts/helm/cluster.mjs'] },
  { name: 'container:build', run: [node, 'scripts/container/build.mjs', 'cpu'], fetches: true },
  { name: 'container', run: [node, 'scripts/container/check.mjs'], quiet: true },
  { name: 'test:slow', run: ['node', 'scripts/run.mjs', 'test-slow'], node: SLOW, quiet: true, minutes: 25 },
  { name: 'docs', run: [node, 'scripts/docs/run-commands.mjs'], fetches: true, quiet: true },
  {
    name: 'bench',
    run: [node, 'scripts/run.mjs', 'bench', '--suite', 'all', '--quick', '--json'],
    fetches: true,
    quiet: true,
  },
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !STEPS.some((step) => step.name === name));
if (unknown.length > 0) {
  console.error(`all: no step ${unknown.join(', ')}; there are ${STEPS.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}
// What was executed is measured by the tests.
if (wanted.includes('coverage')) wanted.push('test');

/** Of steps that run now, each the leader of a process group. */
const running = new Set();
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    for (const child of running) killGroup(child);
    process.kill(process.pid, signal);
  });
}

install();
build();
rmSync(executed, { recursive: true, force: true });
const results = [];
let inBackground = Promise.resolve();
for (const step of STEPS) {
  if (wanted.length > 0 && !wanted.includes(step.name)) continue;
  if (step.background) {
    console.log(`\n=== ${step.name}: runs beside the next steps`);
    inBackground = perform(step);
    continue;
  }
  if (step.quiet) await inBackground;
  await perform(step);
}
await inBackground;

console.log('\n=== steps');
for (const { name, passed, seconds, tries, background } of results) {
  const notes = `${tries.length > 1 ? '  (two tries)' : ''}${background ? '  (beside others)' : ''}`;
  console.log(
    `${passed ? 'ok    ' : 'FAILED'} ${name.padEnd(18)} ${seconds.toFixed(1).padStart(7)} s${notes}`,
  );
}
for (const { name, tries } of results) {
  for (const { last } of tries.filter(({ status }) => status !== 0)) {
    console.log(`=== ${name} failed; its last lines:`);
    for (const line of last) console.log(`  ${line.slice(0, 300)}`);
  }
}
const failed = results.filter((result) => !result.passed);
console.log(`steps: ${results.length - failed.length} passed, ${failed.length} failed`);
process.exitCode = failed.length === 0 ? 0 : 1;

async function perform(step) {
  const started = Date.now();
  const tries = [];
  do tries.push(await show(step));
  while (tries.at(-1).status !== 0 && step.fetches && tries.length < 2);
  const passed = tries.at(-1).status === 0;
  const { name, background = false } = step;
  results.push({ name, passed, seconds: (Date.now() - started) / 1000, tries, background });
}

/** This process's environment; `node` in it is the wanted one. */
function environmentOf({ node: major, env = {} }) {
  if (major === undefined) return { ...process.env, ...env };
  return { ...process.env, ...env, PATH: `${dirname(otherNode(major))}${delimiter}${process.env.PATH}` };
}

/** Runs a step, shows what it prints, and keeps its last lines: of a long log often only the end is kept. */
async function show(step) {
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
  // Of a step in the background at its end, in one piece.
  let kept = '';
  for (const [from, to] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ]) {
    from.on('data', (chunk) => {
      if (step.background) kept += chunk;
      else to.write(chunk);
      tail = (tail + chunk).slice(-4096);
    });
  }
  if (step.background && child.pid !== undefined) setPriority(child.pid, 15);
  const closed = new Promise((resolve) => child.once('close', resolve));
  const minutes = step.minutes ?? MINUTES;
  const deadline = setTimeout(() => {
    tail += `\nstopped: it ran longer than ${minutes} minutes\n`;
    killGroup(child);
  }, minutes * 60_000);
  // A command that is not there fails its own step only.
  const status = await once(child, 'exit').then(
    ([code]) => code,
    (error) => {
      tail += error.message;
      return null;
    },
  );
  clearTimeout(deadline);
  running.delete(child);
  // What a step left running (a container's monitor) may hold the pipes open for ever.
  await Promise.race([closed, after(2000, undefined, { ref: false })]);
  child.stdout.destroy();
  child.stderr.destroy();
  if (step.background) console.log(`${title}\n${kept}`);
  const lines = tail.split('\n').filter((line) => line.trim() !== '');
  return { status, last: lines.slice(-12) };
}

/** Ends a step with all that it started. */
function killGroup({ pid }) {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}
