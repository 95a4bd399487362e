/** The examples for languages without a client of ours, built from the .proto files alone, against a real server. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'mocha';
import type { RunningServer } from '../../../src/server/server.js';
import { root } from '../../support/salad.js';
import { startSmall } from '../../support/small-server.js';

const execute = promisify(execFile);
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

  const builders: Readonly<Record<string, { file: string; build: () => Promise<readonly string[]> }>> = {
    'C++': {
      file: 'clients/cpp/stream_detector.cc',
      build: async () => {
        const { buildCppExample } = await import(join(root, 'scripts/clients/cpp-example.mjs'));
        return [buildCppExample(join(folder, 'cpp')) as string];
      },
    },
    Java: {
      file: 'clients/java/src/main/java/io/github/saladserve/examples/StreamDetector.java',
      build: async () => {
        const { buildJavaExample } = await import(join(root, 'scripts/clients/java-example.mjs'));
        return ['java', ...(buildJavaExample(join(folder, 'java')) as string[])];
      },
    },
  };

  for (const [language, { file, build }] of Object.entries(builders)) {
    it(`streams an acquisition and reads its scores: ${language}`, async () => {
      const lineCount = readFileSync(join(root, file), 'utf8').trimEnd().split('\n').length;
      assert.ok(lineCount < LINES, `${file} has ${lineCount} lines`);
      const [program = '', ...args] = await build();
      const { stdout } = await execute(program, [...args, server.address, 'phantom']);
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

      const refused = await execute(program, [...args, server.address, 'nobody']).then(
        () => undefined,
        (error: { code: number; stderr: string }) => error,
      );
      assert.equal(refused?.code, 1);
      assert.match(refused.stderr, /^the call failed: model nobody is not loaded; loaded: [^\n]*\n$/);
      assert.equal(server.registry.budget.open, 0);
    });
  }
});
