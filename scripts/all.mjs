// `npm run all` = what CI runs. Every step runs even where an earlier one failed; the table at the end tells
// all of it at once. `npm run all -- STEP ...` runs only those steps.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { build, install, root } from './prepare.mjs';

const node = process.execPath;
const local = (name, script) => [node, join(root, 'node_modules', name, script)];
const biome = [node, 'node_modules/@biomejs/biome/bin/biome'];
const buf = ['node_modules/.bin/buf'];
const tsc = local('typescript-native', 'bin/tsc');
const other = otherNode();

/** [name, command, environment]: in this order, cheap and telling ones first. */
const STEPS = [
  ['lint', [...biome, 'ci', '--colors=off', '.']],
  ['lint:types', [...local('eslint', 'bin/eslint.js'), '.']],
  ['typecheck', [...tsc, '-p', 'tsconfig.json', '--noEmit']],
  ['proto:lint', [...buf, 'lint']],
  ['proto:breaking', [...buf, 'breaking', '--against', 'proto/breaking-baseline.binpb']],
  ['audit', [node, 'scripts/supply/audit.mjs']],
  ['sbom', [node, 'scripts/supply/sbom.mjs', '--check']],
  ['gen:check', [node, 'scripts/gen.mjs', '--check']],
  ['client:build', [...tsc, '-p', 'clients/typescript/tsconfig.json']],
  ['test', ['npm', 'test']],
  ['test:node24', [other, 'scripts/run.mjs', 'test'], other],
  ['onnx:check', [node, 'scripts/engines/onnx-check.mjs']],
  ['engines:tensorflow', [node, 'scripts/engines/tensorflow.mjs']],
  ['engines:openvino', [node, 'scripts/engines/openvino.mjs']],
  ['engines:swiftshader', [node, 'scripts/engines/swiftshader.mjs']],
  ['helm', [node, 'scripts/helm/check.mjs']],
  ['helm:api', [node, 'scripts/helm/cluster.mjs']],
  ['container', [node, 'scripts/container/check.mjs']],
  ['test:slow', [node, 'scripts/run.mjs', 'test-slow']],
  ['docs:check', [node, 'scripts/docs/generate.mjs', '--check']],
  ['docs', [node, 'scripts/docs/run-commands.mjs']],
  ['bench', [node, 'scripts/run.mjs', 'bench', '--suite', 'all', '--quick', '--json']],
  ['coverage', [...local('c8', 'bin/c8.js'), '--check-coverage', node, 'scripts/run.mjs', 'test']],
];

/** These fetch what a new machine lacks; where a registry did not answer once, it may the second time. */
const FETCHING = new Set([
  'audit',
  'engines:tensorflow',
  'engines:openvino',
  'engines:swiftshader',
  'helm',
  'helm:api',
  'container',
  'test:slow',
  'docs',
  'bench',
]);

install();
build();
const wanted = process.argv.slice(2);
const results = [];
for (const [name, [command, ...args], path] of STEPS) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const started = Date.now();
  const env = path
    ? { ...process.env, PATH: `${dirname(path)}${delimiter}${process.env.PATH}` }
    : process.env;
  const tries = [];
  do {
    console.log(`\n=== ${name}: ${[command, ...args].join(' ')}`);
    tries.push(await show(command, args, env));
  } while (tries.at(-1).status !== 0 && FETCHING.has(name) && tries.length < 2);
  const passed = tries.at(-1).status === 0;
  results.push({ name, passed, seconds: (Date.now() - started) / 1000, tries });
}

console.log('\n=== steps');
for (const { name, passed, seconds, tries } of results) {
  const again = tries.length > 1 ? '  (two tries)' : '';
  console.log(
    `${passed ? 'ok    ' : 'FAILED'} ${name.padEnd(18)} ${seconds.toFixed(1).padStart(7)} s${again}`,
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

/** Runs a step, shows what it prints, and keeps its last lines: of a long log often only the end is kept. */
async function show(command, args, env) {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env });
  let tail = '';
  for (const [from, to] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ]) {
    from.on('data', (chunk) => {
      to.write(chunk);
      tail = (tail + chunk).slice(-4096);
    });
  }
  const closed = new Promise((resolve) => child.once('close', resolve));
  // A command that is not there fails its own step only.
  const status = await once(child, 'exit').then(
    ([code]) => code,
    (error) => {
      tail += error.message;
      return null;
    },
  );
  // What a step left running (a container's monitor) may hold the pipes open for ever.
  await Promise.race([closed, setTimeout(2000, undefined, { ref: false })]);
  child.stdout.destroy();
  child.stderr.destroy();
  const lines = tail.split('\n').filter((line) => line.trim() !== '');
  return { status, last: lines.slice(-12) };
}

/** The suite runs on Node 20 and on Node 24: whichever this is not. The npm registry carries both. */
function otherNode() {
  const major = process.versions.node.startsWith('24.') ? 20 : 24;
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  const prefix = join(root, '.cache', `node${major}`);
  const binary = join(prefix, 'node_modules', name, 'bin', 'node');
  if (!existsSync(binary)) {
    const args = [
      'install',
      '--silent',
      '--no-save',
      '--no-package-lock',
      '--prefix',
      prefix,
      `${name}@${major}`,
    ];
    spawnSync('npm', args, { stdio: 'inherit' });
  }
  return binary;
}
