/**
 * The examples for languages without a client of ours, built from the .proto files alone by the commands of their
 * READMEs, against a real server.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'mocha';
import type { RunningServer } from '../../../src/server/server.js';
import { root } from '../../support/root.js';
import { startSmall } from '../../support/servers/small-server.js';

const execute = promisify(execFile);

interface Example {
  readonly command: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}

/** Each example has fewer. */
const LINES = 150;

describe('the examples for other languages', function () {
  // Packages of Debian and Maven are fetched the first time.
  this.timeout(600_000);
  const folder = mkdtempSync(join(tmpdir(), 'salad-examples-'));
  let server: RunningServer;

  before(async () => {
    server = await startSmall(join(root, 'models'));
  });
  after(async () => {
    await server.stop(0);
    rmSync(folder, { recursive: true, force: true });
  });

  const examples = {
    cpp: 'clients/cpp/stream_detector.cc',
    java: 'clients/java/src/main/java/io/github/saladserve/examples/StreamDetector.java',
  };

  for (const [language, file] of Object.entries(examples)) {
    it(`streams an acquisition and reads its scores: ${language}`, async () => {
      const lineCount = readFileSync(join(root, file), 'utf8').trimEnd().split('\n').length;
      assert.ok(lineCount < LINES, `${file} has ${lineCount} lines`);
      const { buildExample } = await import(join(root, 'scripts/clients/examples.mjs'));
      const { command, ...options } = buildExample(language, join(folder, language)) as Example;
      assert.ok(command.endsWith(' 127.0.0.1:50051 phantom'), command);
      const run = (model: string) =>
        execute('bash', ['-c', command.replace(/\S+ \S+$/, `${server.address} ${model}`)], options);
      const { stdout } = await run('phantom');
      const lines = stdout.trim().split('\n');
      assert.equal(lines[0], 'accepted by phantom on onnx');
      const scores = lines
        .filter((line) => line.endsWith(' patch scores'))
        .map((line) => Number.parseInt(line, 10));
      assert.equal(
        scores.reduce((sum, count) => sum + count, 0),
        256,
      );
      assert.ok(scores.length > 1, 'scores come while rows are sent');
      assert.match(stdout, /^(normal|anomalous), p = 0\.\d{4}, 256 patches scored$/m);

      const refused = await run('nobody').then(
        () => undefined,
        (error: { code: number; stderr: string }) => error,
      );
      assert.equal(refused?.code, 1);
      assert.match(refused.stderr, /^the call failed: model nobody is not loaded; loaded: [^\n]*\n$/);
      assert.equal(server.registry.budget.open, 0);
    });
  }
});
