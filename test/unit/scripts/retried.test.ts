import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { root } from '../../support/root.js';

/** The settings of .mocharc.json that matter here, without TypeScript, which takes a second to load. */
const SETTINGS = ['--require', './scripts/retried.mjs', '--reporter', 'scripts/reporter.mjs'];

describe('a test that fails in its first try', function () {
  this.timeout(30_000);
  const file = join(root, 'test/slow/fails-at-its-first-try.test.mjs');
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'salad-retried-'));
  });
  after(() => {
    rmSync(folder, { recursive: true });
    rmSync(file, { force: true });
  });

  /** Runs such a test with the reporter of the project and the given list of files that may be retried. */
  const run = (list: Record<string, string>, settings = '') => {
    const path = join(folder, 'list.json');
    writeFileSync(path, JSON.stringify(list));
    writeFileSync(
      file,
      `let tries = 0;
      describe('clock', () => it('is late once', function () { ${settings} if (++tries === 1) throw new Error('late'); }));`,
    );
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(root, 'node_modules/mocha/bin/mocha.js'), '--no-config', ...SETTINGS, file],
      { cwd: root, encoding: 'utf8', env: { ...process.env, SALAD_TEST_RETRIED: path } },
    );
    return { status, printed: stdout + stderr };
  };

  it('runs with the settings of all tests', () => {
    const settings = JSON.parse(readFileSync(join(root, '.mocharc.json'), 'utf8')) as Record<string, unknown>;
    assert.ok((settings['require'] as string[]).includes('./scripts/retried.mjs'));
    assert.equal(settings['reporter'], 'scripts/reporter.mjs');
    assert.ok(!('retries' in settings));
  });

  it('fails the run', () => {
    const { status, printed } = run({});
    assert.equal(status, 1, printed);
    assert.match(printed, /^mocha: FAILED clock is late once: late$/m);
    assert.match(printed, /^mocha: 0 passed, 1 failed$/m);
  });

  it('has a second try if its file is listed with a reason, and is printed', () => {
    const { status, printed } = run({
      'test/slow/fails-at-its-first-try.test.mjs': 'reads the clock of the machine',
    });
    assert.equal(status, 0, printed);
    assert.match(printed, /^mocha: TRIED AGAIN clock is late once: late$/m);
    assert.match(printed, /^mocha: 1 passed, 0 failed$/m);
  });

  it('fails the run even if it requests a second try itself', () => {
    const { status, printed } = run({}, 'this.retries(1);');
    assert.equal(status, 1, printed);
    assert.match(printed, /^mocha: 1 retries not on the list/m);
  });

  it('cannot be listed without a reason, outside the slow suite or if its file is missing', () => {
    for (const [name, reason, message] of [
      ['test/slow/fails-at-its-first-try.test.mjs', '', /has no reason/],
      ['test/unit/docs.test.ts', 'reads the clock of the machine', /is not a file of the slow suite/],
      ['test/slow/gone.test.ts', 'reads the clock of the machine', /does not exist/],
    ] as const) {
      const { status, printed } = run({ [name]: reason });
      assert.notEqual(status, 0);
      assert.match(printed, message);
    }
  });
});
