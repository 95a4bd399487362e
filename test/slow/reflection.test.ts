import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'mocha';
import type { RunningServer } from '../../src/server/server.js';
import { root } from '../support/root.js';
import { type ModelsFolder, smallImage, smallModels, startSmall } from '../support/servers/small-server.js';

const SERVICES = [
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
  'inference.GRPCInferenceService',
  'salad.v1.AnomalyScoring',
  'salad.v1.ModelRegistry',
];

/** grpcurl has no copy of the proto: it uses only reflection. */
describe('grpcurl', function () {
  // Built once, from the Go module proxy.
  this.timeout(600_000);
  let grpcurl: string;
  let models: ModelsFolder;
  let server: RunningServer;

  before(async () => {
    grpcurl = execFileSync(process.execPath, [join(root, 'scripts/grpcurl.mjs')], {
      encoding: 'utf8',
    }).trim();
    models = await smallModels();
    server = await startSmall(models.path);
  });
  after(async () => {
    await server.stop(0);
    await models.remove();
  });

  /** stdout and stderr, and whether the call succeeded. The server lives in this process: nothing may block. */
  const run = async (...args: readonly string[]) => {
    try {
      const { stdout, stderr } = await promisify(execFile)(grpcurl, ['-plaintext', ...args]);
      return { ok: true, text: stdout + stderr };
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string };
      return { ok: false, text: stdout + stderr };
    }
  };
  const call = (method: string, ...messages: readonly unknown[]) =>
    run('-d', messages.map((message) => JSON.stringify(message)).join('\n'), server.address, method);

  it('lists every service and describes each of them, its messages and our error details', async () => {
    const { text } = await run(server.address, 'list');
    assert.deepEqual(text.trim().split('\n').sort(), SERVICES);
    const symbols = ['ErrorInfo', 'BadRequest', 'RetryInfo', 'Status'].map((name) => `google.rpc.${name}`);
    for (const symbol of [...SERVICES, ...symbols, 'salad.v1.AcquisitionAggregate']) {
      const described = await run(server.address, 'describe', symbol);
      assert.ok(described.ok && described.text.startsWith(`${symbol} is a `), described.text);
    }
    const described = await run(server.address, 'describe', 'salad.v1.AcquisitionHeader');
    assert.match(described.text, /^ {2}\/\/ .*$/m, 'with the comments of the proto');
  });

  it('calls every method', async () => {
    const header = {
      acquisitionId: 'grpcurl',
      model: { name: 'small' },
      source: 'SOURCE_ROWS',
      image: { rows: 64, columns: 64, bitsAllocated: 8 },
    };
    const samples = Buffer.from(smallImage(1)).toString('base64');
    for (const [method, expected, ...messages] of [
      ['grpc.health.v1.Health/Check', /"status": "SERVING"/, {}],
      ['grpc.health.v1.Health/List', /"salad\.v1\.AnomalyScoring": \{\s+"status": "SERVING"/, {}],
      ['salad.v1.ModelRegistry/List', /"name": "small"/, {}],
      ['salad.v1.ModelRegistry/Get', /"prototypeCount"/, { model: { name: 'small' } }],
      ['salad.v1.AnomalyScoring/ScoreImage', /"aggregate": \{/, { header, raw: samples }],
      [
        'salad.v1.AnomalyScoring/StreamAcquisition',
        /"aggregate": \{/,
        { header },
        { rows: { firstRow: 0, samples } },
        { end: {} },
      ],
    ] as const) {
      const { ok, text } = await call(method, ...messages);
      assert.ok(ok, `${method}: ${text}`);
      assert.match(text, expected, method);
    }
  });

  it('decodes the details of our errors', async () => {
    const unknown = await call('salad.v1.ModelRegistry/Get', { model: { name: 'nothing' } });
    assert.ok(!unknown.ok);
    assert.match(unknown.text, /"reason": "MODEL_NOT_FOUND"/);
    const invalid = await call('salad.v1.ModelRegistry/Get', {});
    assert.match(invalid.text, /"fieldViolations": \[\s+\{\s+"field": "model\.name"/);
    assert.doesNotMatch(unknown.text + invalid.text, /not recognized/);
  });
});
