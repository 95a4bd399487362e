import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { salad } from '../support/programs/salad.js';
import { root } from '../support/root.js';

const main = join(root, 'dist/src/main.js');

/** A running command and its output so far. */
class RunningCommand {
  readonly child: ChildProcessWithoutNullStreams;
  stdout = '';
  stderr = '';
  readonly #closed: Promise<unknown[]>;

  constructor(...args: readonly string[]) {
    this.child = spawn(process.execPath, [main, ...args]);
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#closed = once(this.child, 'close');
  }

  /** Resolves when the condition holds after some output; rejects if the command ends before. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const check = () => {
        if (condition()) resolve();
      };
      check();
      this.child.stdout.on('data', check);
      this.child.stderr.on('data', check);
      void this.#closed.then(() => reject(new Error(`the command ended too early: ${this.stderr}`)));
    });
  }

  /** Sends the signal and returns the exit code. */
  async end(signal: NodeJS.Signals = 'SIGINT'): Promise<unknown> {
    this.child.kill(signal);
    const [code] = await this.#closed;
    return code;
  }
}

describe('Ctrl-C', function () {
  this.timeout(120_000);
  let folder: string;
  const at = (...names: string[]) => join(folder, ...names);

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'salad-interrupt-'));
    const made = await salad('phantom', '--count', '40', '--size', '256', '--out', at('p'));
    assert.equal(made.code, 0, made.stderr);
  });
  after(() => {
    rmSync(folder, { recursive: true });
  });

  it('keeps the results so far in table, CSV and report, and exits with 130', async () => {
    const files = ['--csv', at('scores.csv'), '--report', at('report.html')];
    const run = new RunningCommand('score', at('p/normal'), '--model', 'phantom', '--patches', ...files);
    // The second file is being scored, so that the first one is complete.
    await run.until(() => run.stdout.includes('phantom-000002'));
    assert.equal(await run.end(), 130, run.stderr);
    assert.match(run.stdout, /^file +score/m);
    assert.match(run.stdout, /40 images: .* not scored/);
    assert.match(run.stderr, /stopping/);
    const rows = readFileSync(at('scores.csv'), 'utf8').trimEnd().split('\n').slice(1);
    assert.equal(rows.length, 40);
    const notScored = Number(/(\d+) not scored/.exec(run.stdout)?.[1]);
    assert.ok(notScored >= 1 && notScored < 40, `${notScored} not scored`);
    assert.equal(rows.filter((row) => row.endsWith(',not scored: interrupted,,,,')).length, notScored);
    assert.match(readFileSync(at('report.html'), 'utf8'), /40 images: .* not scored/);
  });

  it('writes the outputs that later interrupts write, where the server has not started yet', async () => {
    writeFileSync(at('p/normal/notes.txt'), '');
    const files = ['--csv', at('early.csv'), '--report', at('early.html')];
    const run = new RunningCommand('score', at('p/normal'), '--model', 'phantom', ...files);
    // Printed before the server is started.
    await run.until(() => run.stderr.includes('left out .txt files'));
    assert.equal(await run.end(), 130, run.stderr);
    assert.match(run.stdout, /40 images: 40 not scored/);
    const rows = readFileSync(at('early.csv'), 'utf8').trimEnd().split('\n').slice(1);
    assert.equal(rows.filter((row) => row.endsWith(',not scored: interrupted,,,,')).length, 40);
    assert.match(readFileSync(at('early.html'), 'utf8'), /40 images: 40 not scored/);
  });

  it('lists the phantoms written so far, and exits with 130', async () => {
    const run = new RunningCommand('phantom', '--count', '5000', '--size', '64', '--out', at('q'));
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        if (!existsSync(at('q/normal')) || readdirSync(at('q/normal')).length < 3) return;
        clearInterval(timer);
        resolve();
      }, 20);
    });
    assert.equal(await run.end('SIGTERM'), 130, run.stderr);
    assert.match(run.stderr, /interrupted: \d+ of 5000 phantoms were written/);
    const lines = readFileSync(at('q/manifest.tsv'), 'utf8').trimEnd().split('\n').slice(1);
    assert.ok(lines.length >= 3 && lines.length < 5000);
    assert.equal(lines.length, readdirSync(at('q/normal')).length);
  });

  it('prints the figures of a load so far, and exits with 130', async () => {
    const args = ['--model', 'phantom', '--duration', '600', '--warm-up', '0', '--json'];
    const run = new RunningCommand('load', ...args);
    // A progress line is printed every five seconds.
    await run.until(() => /[1-9]\d* done/.test(run.stderr));
    assert.equal(await run.end(), 130, run.stderr);
    const result = JSON.parse(run.stdout) as {
      seconds: number;
      acquisitions: { ok: number; failed: number };
    };
    assert.ok(result.seconds > 0 && result.seconds < 590);
    assert.ok(result.acquisitions.ok > 0);
    assert.equal(result.acquisitions.failed, 0);
  });
});

describe('a closed pipe', function () {
  this.timeout(120_000);

  it('ends scoring without output files, without an error', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'salad-pipe-'));
    try {
      await salad('phantom', '--count', '3', '--size', '256', '--out', folder);
      const run = new RunningCommand('score', join(folder, 'normal'), '--model', 'phantom', '--json');
      run.child.stdout.once('data', () => run.child.stdout.destroy());
      const [code] = await once(run.child, 'close');
      assert.equal(code, 0, run.stderr);
      assert.doesNotMatch(run.stderr, /EPIPE/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
