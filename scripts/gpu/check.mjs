// `node scripts/gpu/check.mjs`: unpacks the archive of scripts/gpu/build.mjs into an empty folder and runs it there on
// SwiftShader, with short measurements of a small bundle and without PATH, so that it can use nothing of this machine but
// /bin/sh and the C library.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../root.mjs';

const archive = join(root, 'out/gpu/archive');
const swiftshader = join(root, '.cache/swiftshader');
/** Largest difference of scores between engines. */
const ERROR_MAX = 1e-4;

for (const [path, command] of [
  [join(archive, 'run.sh'), 'node scripts/gpu/build.mjs --fast'],
  [join(swiftshader, 'icd.json'), 'npm run engines:swiftshader'],
]) {
  if (existsSync(path)) continue;
  console.error(`gpu: ${path} is missing; run \`${command}\` first`);
  process.exit(1);
}

const folder = mkdtempSync(join(tmpdir(), 'salad-gpu-check-'));
try {
  check();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function check() {
  const bare = join(folder, 'bare');
  cpSync(archive, bare, { recursive: true });
  const models = join(folder, 'models');
  const writer = ['--import', 'tsx', 'test/support/engines/write-small-models.ts', models];
  execFileSync(process.execPath, writer, { cwd: root, stdio: ['ignore', 2, 2] });
  const out = join(folder, 'results');
  // More time than a GPU needs: a software adapter on a busy machine is slow.
  const flags = ['--quick', '--minutes', '19', '--models', models, '--out', out];
  const { status } = spawnSync('/bin/sh', [join(bare, 'run.sh'), ...flags], {
    cwd: bare,
    stdio: ['ignore', 2, 2],
    env: {
      PATH: '',
      VK_ICD_FILENAMES: join(swiftshader, 'icd.json'),
      VK_LOADER_LAYERS_DISABLE: '*',
      XDG_RUNTIME_DIR: join(swiftshader, 'run'),
    },
  });
  try {
    assert.equal(status, 0, 'the run is not complete');
    checkResults(JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')));
    assert.match(readFileSync(join(out, 'summary.txt'), 'utf8'), /## serve/);
  } catch (error) {
    const log = join(out, 'log.txt');
    if (existsSync(log)) console.error(readFileSync(log, 'utf8').slice(-8000));
    throw error;
  }
}

function checkResults({ parts }) {
  const { doctor, peak, parity, curve, failover, serve } = parts;
  assert.equal(doctor.results.engine, 'onnx');
  assert.ok(peak.results.gigaFlops > 0);
  for (const name of ['webgpu', 'onnx', 'wasm', 'onnx on webgpu']) {
    const { usable, reason, maxAbsScoreError } = parity.results[name];
    assert.ok(usable && maxAbsScoreError < ERROR_MAX, `${name}: ${reason ?? maxAbsScoreError}`);
  }
  // Their libraries are not in the archive.
  for (const name of ['tensorflow', 'openvino']) assert.match(parity.results[name].reason, /does not load/);
  const { tilesPerSecond, shareOfPeak, encoderShareOfPeak } = curve.results['small/1'];
  assert.deepEqual(Object.keys(tilesPerSecond), ['1', '2']);
  assert.ok(shareOfPeak > 0 && encoderShareOfPeak > 0);
  const { lost, tookOver, failback, load, before, again, maxAbsScoreDifference } = failover.results;
  assert.deepEqual([lost.engine, lost.loss, tookOver.engine], ['webgpu', 'failed', 'onnx']);
  assert.ok(load.ok > 0);
  assert.equal(load.failed, 0);
  assert.deepEqual([before.engines, failback.engine, again.engines], [['webgpu'], 'webgpu', ['webgpu']]);
  assert.ok(maxAbsScoreDifference < ERROR_MAX, String(maxAbsScoreDifference));
  for (const processes of [1, 2]) {
    const measured = serve.results['small/1'][`processes ${processes}, streams 4`];
    const { ok, failed, refused, loadProcesses } = measured;
    assert.equal(measured.processes, processes);
    // With one, the generator would start no process of its own.
    assert.ok(loadProcesses >= processes, `${loadProcesses} processes of the load generator`);
    assert.ok(ok > 0 && failed + refused === 0, `${processes} processes: ${JSON.stringify(measured)}`);
  }
}
