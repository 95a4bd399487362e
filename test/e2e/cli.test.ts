import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { assertKeepsFields } from '../support/programs/json-fields.js';
import { type ServeProcess, salad, saladUnder, startServe } from '../support/programs/salad.js';
import { root } from '../support/root.js';

const COMMANDS = [
  'serve',
  'score',
  'train',
  'evaluate',
  'models',
  'phantom',
  'doctor',
  'load',
  'demo',
  'config',
] as const;

describe('the salad command', function () {
  this.timeout(120_000);
  let directory: string;
  let server: ServeProcess;
  let image: string;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'salad-e2e-'));
    const { code, lines } = await salad(
      'phantom',
      '--count',
      '1',
      '--seed',
      '77',
      '--lesion',
      'effusion',
      '--out',
      directory,
      '--json',
    );
    assert.equal(code, 0);
    assertKeepsFields('phantom', lines[0]);
    const listing = readFileSync(join(directory, 'manifest.tsv'), 'utf8');
    const path = /effusion\/\S+\.png/.exec(listing)?.[0];
    assert.ok(path, listing);
    image = join(directory, path);
    server = await startServe();
  });

  after(async () => {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  it('prints help with examples for every command and exits with 0', async () => {
    const help = await salad('--help');
    assert.equal(help.code, 0);
    for (const command of COMMANDS) {
      assert.match(help.stdout, new RegExp(`^  ${command}\\b`, 'm'));
      const commandHelp = await salad(command, '--help');
      assert.equal(commandHelp.code, 0, command);
      assert.match(commandHelp.stdout, /Examples:\n {2}/, command);
    }
  });

  it('exits with 2 on wrong usage, with a message', async () => {
    const unknown = await salad('score', '--sideways', image);
    assert.equal(unknown.code, 2);
    assert.match(unknown.stderr, /unknown option '--sideways'/);
    const ambiguous = await salad('score', '--target', server.address, image);
    assert.equal(ambiguous.code, 2);
    assert.match(ambiguous.stderr, /choose one with --model/);
  });

  it('continues its work if stdout is closed', async () => {
    const out = join(directory, 'unread');
    const args = ['phantom', '--count', '2', '--seed', '3', '--out', out, '--json'];
    const child = spawn(process.execPath, [join(root, 'dist/src/main.js'), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.destroy();
    let stderr = '';
    child.stderr.on('data', (text: Buffer) => {
      stderr += text.toString('utf8');
    });
    assert.deepEqual(await once(child, 'close'), [0, null], stderr);
    assert.equal(readdirSync(join(out, 'normal')).length, 2);
    assert.doesNotMatch(stderr, /EPIPE/);
  });

  it('prints the configuration as a valid configuration file, and refuses an unknown setting with 2', async () => {
    const folders = [join(directory, 'a, b'), join(directory, 'c')];
    const models = folders.flatMap((folder) => ['--models', folder]);
    const printed = await salad('config', 'print', '--set', 'maxQueueMs=1234', '--workers', '3', ...models);
    assert.equal(printed.code, 0, printed.stderr);
    const file = join(directory, 'printed.yaml');
    writeFileSync(file, printed.stdout);
    const again = await salad('config', 'print', '--config', file, '--sources', '--json');
    const settings = again.lines[0] as Record<string, { value: unknown; source: string; where: string }>;
    assert.deepEqual(
      [settings['maxQueueMs']?.value, settings['workers']?.value, settings['workers']?.source],
      [1234, 3, 'file'],
    );
    assert.deepEqual(settings['models']?.value, folders);
    const wrong = await salad('serve', '--set', 'maxQueuMs=1');
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /did you mean maxQueueMs/);
  });

  it('prints its address and its models on the first line', () => {
    assert.equal(server.ready['event'], 'ready');
    assertKeepsFields('serve: ready', server.ready);
    // openvino if `npm run engines:openvino` installed it.
    assert.ok(['openvino', 'onnx'].includes(server.ready['engine'] as string));
    assert.ok((server.ready['models'] as string[]).includes('phantom@1'));
  });

  it('has the same scores for an image sent whole, as rows and as tiles', async () => {
    const score = async (mode: string) => {
      const run = await salad(
        'score',
        image,
        '--target',
        server.address,
        '--model',
        'phantom',
        '--mode',
        mode,
        '--patches',
        '--json',
      );
      assert.equal(run.code, 0, run.stderr);
      const aggregate = run.lines.at(-1) ?? {};
      assertKeepsFields('score: patch', run.lines[0]);
      const patches = run.lines
        .filter((line) => line['event'] === 'patch')
        .map((line) => [line['row'], line['column'], line['score']] as [number, number, number])
        .sort((a, b) => a[0] - b[0] || a[1] - b[1]);
      return { aggregate, patches };
    };
    const whole = await score('image');
    assertKeepsFields('score: aggregate', whole.aggregate);
    assert.equal((whole.aggregate['coverage'] as Record<string, number>)['scored'], whole.patches.length);
    for (const mode of ['rows', 'tiles']) {
      const other = await score(mode);
      assert.equal(other.patches.length, whole.patches.length);
      for (const [index, patch] of other.patches.entries()) {
        assert.ok(
          Math.abs(patch[2] - (whole.patches[index]?.[2] ?? Number.NaN)) <= 1e-6,
          `${mode} patch ${index}`,
        );
      }
      assert.ok(
        Math.abs(Number(other.aggregate['imageScore']) - Number(whole.aggregate['imageScore'])) <= 1e-4,
      );
    }
  });

  it('scores the valid files, reports a corrupt one, and exits with 1', async () => {
    const corrupt = join(directory, 'corrupt.png');
    writeFileSync(corrupt, readFileSync(image).subarray(0, 2000));
    const run = await salad(
      'score',
      corrupt,
      image,
      '--target',
      server.address,
      '--model',
      'phantom',
      '--json',
    );
    assert.equal(run.code, 1);
    assert.equal(run.lines[0]?.['event'], 'error');
    assert.equal(run.lines[0]?.['status'], 'INVALID_ARGUMENT');
    assert.equal(run.lines[0]?.['reason'], 'IMAGE_UNREADABLE');
    assert.equal(run.lines[1]?.['event'], 'aggregate');
    assertKeepsFields('score: error', run.lines[0]);
  });

  it('writes the anomaly map and the report', async () => {
    const map = join(directory, 'map.png');
    const report = join(directory, 'report.html');
    const run = await salad(
      'score',
      image,
      '--target',
      server.address,
      '--model',
      'phantom',
      '--anomaly-map',
      map,
      '--report',
      report,
    );
    assert.equal(run.code, 0, run.stderr);
    assert.match(run.stdout, /anomalous/);
    assert.deepEqual([...readFileSync(map).subarray(1, 4)], [...Buffer.from('PNG')]);
    assert.match(readFileSync(report, 'utf8'), /data:image\/png;base64,/);
  });

  it('loads a server, prints the figures, and exits with 1 if an objective does not hold', async () => {
    const run = await salad(
      'load',
      '--target',
      server.address,
      '--model',
      'phantom',
      '--streams',
      '4',
      '--duration',
      '1',
      '--warm-up',
      '0',
      '--slo',
      'tile.p99<0.001ms',
      '--slo',
      'failed<1',
      '--json',
    );
    assert.equal(run.code, 1, run.stderr);
    const result = run.lines[0] as {
      acquisitions: Record<string, number>;
      tiles: Record<string, number>;
      jain: number;
      batchFill: number;
      slo: { violated: string[] };
    };
    assertKeepsFields('load', result);
    assert.ok((result.acquisitions['ok'] ?? 0) > 0);
    assert.equal(result.acquisitions['failed'], 0);
    assert.ok((result.tiles['perSecond'] ?? 0) > 0);
    assert.ok(result.jain > 0.5 && result.jain <= 1);
    assert.ok(result.batchFill > 0 && result.batchFill <= 1);
    assert.deepEqual(result.slo.violated, ['tile.p99<0.001ms']);
  });

  it('runs the demo: scores arrive before the last row, and the top patch is on the lesion', async () => {
    const out = join(directory, 'demo');
    const run = await salad('demo', '--json', '--out', out);
    assert.equal(run.code, 0, run.stderr);
    const aggregate = run.lines.at(-1) as Record<string, unknown>;
    assertKeepsFields('demo: aggregate', aggregate);
    assert.equal(aggregate['event'], 'aggregate');
    assert.equal(aggregate['topPatchOnLesion'], true);
    assert.equal(aggregate['anomalous'], true);
    assert.ok(existsSync(join(out, 'anomaly-map.png')) && existsSync(join(out, 'report.html')));
    const timings = aggregate['timings'] as { firstScoreMs: number; totalMs: number };
    assert.ok(timings.firstScoreMs < 0.5 * timings.totalMs, JSON.stringify(timings));
  });

  it('prints the decision of the demo and the log of its server in human-readable form', async () => {
    const args = ['--rows-per-second', '0', '--out', join(directory, 'demo-people')];
    const run = await saladUnder({ SALAD_LOG_LEVEL: 'info', SALAD_MODELS: directory }, 'demo', ...args);
    assert.equal(run.code, 0, run.stderr);
    assert.match(run.stdout, /^decision +anomalous at a false-positive rate of 0\.05$/m);
    assert.match(run.stdout, /^top patch +on the lesion$/m);
    assert.deepEqual(run.lines, []);
    assert.match(run.stderr, /^salad: server info: model ready \(model phantom@1/m);
    assert.doesNotMatch(run.stderr, /^\{/m);
  });

  it('drains on SIGTERM and exits with 0', async () => {
    const second = await startServe('--models', 'models');
    assert.equal(await second.stop('SIGTERM'), 0);
  });
});
