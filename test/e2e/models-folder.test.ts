/** Compares how `models list`, `doctor` and `serve` treat one models folder that the user cannot read completely. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'mocha';
import { writeSmallBundle } from '../support/engines/small-bundle.js';
import { root } from '../support/root.js';

/** Another user, because root may read everything. */
const USER = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};

const UNREADABLE = ['lost+found', 'private', 'small/9'];

interface Finished {
  readonly code: number | null;
  readonly lines: readonly Record<string, unknown>[];
}

/** Runs `salad` to its end, or stops it after its first line. */
function salad(args: readonly string[], stopAfterFirstLine = false): Promise<Finished> {
  const child = spawn(process.execPath, [join(root, 'dist/src/main.js'), ...args], {
    ...USER,
    env: { ...process.env, HOME: tmpdir(), SALAD_ENGINE_STANDBY_DELAY_MS: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: Record<string, unknown>[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      if (line.startsWith('{')) lines.push(JSON.parse(line) as Record<string, unknown>);
      if (stopAfterFirstLine && stream === child.stdout) child.kill();
    });
  }
  return new Promise((done) => child.on('close', (code) => done({ code, lines })));
}

describe('a models folder with unreadable folders', function () {
  this.timeout(120_000);
  let folder: string;
  let models: string;
  const named = (path: unknown) => relative(models, String(path));

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-folder-'));
    chmodSync(folder, 0o755);
    models = join(folder, 'models');
    await writeSmallBundle(models);
    await writeSmallBundle(join(folder, 'elsewhere'), { name: 'linked', version: 3 });
    symlinkSync(join('..', 'elsewhere', 'linked'), join(models, 'linked'));
    mkdirSync(join(models, 'half'));
    await writeSmallBundle(join(folder, 'elsewhere'), { name: 'half', version: 2 });
    symlinkSync(join('..', '..', 'elsewhere', 'half', '2'), join(models, 'half', '2'));
    cpSync(join(models, 'small', '1'), join(models, 'small', '1.bak'), { recursive: true });
    cpSync(join(models, 'small', '1'), join(models, 'small', '7'), { recursive: true });
    for (const path of UNREADABLE) mkdirSync(join(models, path), { mode: 0 });
  });
  after(() => {
    for (const path of UNREADABLE) chmodSync(join(models, path), 0o755);
    rmSync(folder, { recursive: true });
  });

  const SERVED = ['half@2', 'linked@3', 'small@1'];
  const REFUSED = ['private', 'small/7', 'small/9'];
  const IGNORED = ['lost+found', 'small/1.bak'];

  it('is listed with usable, refused and ignored folders', async () => {
    const { code, lines } = await salad(['models', 'list', '--models', models, '--json']);
    assert.equal(code, 0);
    const [list] = lines as { models: Record<string, unknown>[]; ignored: Record<string, unknown>[] }[];
    const usable = list!.models.filter((each) => each['usable']).map((each) => each['model']);
    const refused = list!.models.filter((each) => !each['usable']).map((each) => named(each['directory']));
    assert.deepEqual([usable, refused], [SERVED, REFUSED]);
    assert.deepEqual(
      list!.ignored.map(({ directory }) => named(directory)),
      IGNORED,
    );
  });

  it('has the same result in doctor', async () => {
    const options = ['--models', models, '--engine', 'onnx', '--listen', '127.0.0.1:0', '--json'];
    const { code, lines } = await salad(['doctor', ...options]);
    const [report] = lines as {
      models: Record<string, unknown>[];
      ignored: Record<string, unknown>[];
      problems: string[];
      warnings: string[];
      provenWith: string[];
    }[];
    assert.equal(code, 1);
    const usable = report!.models.filter((each) => each['usable']).map((each) => each['model']);
    assert.deepEqual([usable, report!.provenWith], [SERVED, SERVED]);
    assert.deepEqual(
      report!.ignored.map(({ directory }) => named(directory)),
      IGNORED,
    );
    assert.equal(report!.problems.length, REFUSED.length, report!.problems.join('\n'));
    assert.equal(report!.warnings.filter((line) => line.includes('is ignored')).length, IGNORED.length);
  });

  it('is served without the refused folders, which are logged', async () => {
    const options = ['--models', models, '--engine', 'onnx', '--workers', '1', '--listen', '127.0.0.1:0'];
    const { code, lines } = await salad(['serve', ...options, '--json'], true);
    assert.equal(code, 0);
    assert.deepEqual(lines.find(({ event }) => event === 'ready')?.['models'], SERVED);
    const logged = (message: string) =>
      lines.filter(({ msg }) => msg === message).map(({ directory }) => named(directory));
    assert.deepEqual(logged('a model bundle was refused'), REFUSED);
    assert.deepEqual(logged('a folder is not a model bundle and was ignored'), IGNORED);
  });
});
