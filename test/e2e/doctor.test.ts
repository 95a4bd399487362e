import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { stringify } from 'yaml';
import { makeApiKey } from '../../src/auth/api-keys.js';
import { makeAuthority } from '../support/network/certificates.js';
import { assertKeepsFields } from '../support/programs/json-fields.js';
import { salad, saladUnder, startServe } from '../support/programs/salad.js';
import { type ModelsFolder, smallModels } from '../support/servers/small-server.js';

interface Report {
  readonly engine: string | null;
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  readonly checks: readonly { readonly name: string; readonly state: string; readonly detail: string }[];
  readonly models: readonly { readonly model: string; readonly usable: boolean }[];
}

describe('salad doctor', function () {
  this.timeout(120_000);
  let models: ModelsFolder;
  let folder: string;
  const at = (name: string) => join(folder, name);
  const examine = async (...args: string[]) => {
    const basics = ['--models', models.path, '--engine', 'onnx', '--listen', '127.0.0.1:0', '--json'];
    const run = await salad('doctor', ...basics, ...args);
    return { code: run.code, report: run.lines[0] as unknown as Report };
  };
  const states = (report: Report) =>
    Object.fromEntries(report.checks.map(({ name, state }) => [name, state]));

  before(async () => {
    models = await smallModels();
    folder = mkdtempSync(join(tmpdir(), 'salad-doctor-'));
    const authority = await makeAuthority();
    writeFileSync(at('ca.pem'), authority.certificate);
    const daysLeftByName = { own: 60, soon: 3, expired: -1, other: 60 };
    for (const [name, daysLeft] of Object.entries(daysLeftByName)) {
      const pair = await authority.issue({ commonName: name, daysLeft });
      writeFileSync(at(`${name}.pem`), pair.certificate);
      writeFileSync(at(`${name}.key`), pair.privateKey);
    }
    const late = makeApiKey({ name: 'old-detector', scopes: ['score'], expires: '2020-01-01T00:00:00Z' });
    writeFileSync(at('keys.yaml'), stringify({ keys: [late.entry] }));
    writeFileSync(at('jwks.json'), '{"keys":[]}');
  });
  after(async () => {
    await models.remove();
    rmSync(folder, { recursive: true });
  });

  const pair = (certificate: string, key = certificate) => [
    ...['--set', `tlsCertFile=${at(`${certificate}.pem`)}`],
    ...['--set', `tlsKeyFile=${at(`${key}.key`)}`],
  ];

  it('reports no problems for a valid set-up, and the days until the certificate expires', async () => {
    const { code, report } = await examine(...pair('own'), '--set', `tlsClientCaFile=${at('ca.pem')}`);
    assert.deepEqual([code, report.engine, report.problems, report.warnings], [0, 'onnx', [], []]);
    assert.deepEqual(states(report), {
      ...{ port: 'ok', processes: 'ok', tls: 'ok', tokens: 'off', apiKeys: 'off', admin: 'off' },
      ...{ sharedMemory: 'ok', memory: 'ok' },
    });
    const tls = report.checks.find(({ name }) => name === 'tls')?.detail ?? '';
    assert.match(tls, /CN=own .* (59|60) days left; client certificates of CN=test authority/);
    assert.deepEqual(report.models, [{ model: 'small@1', usable: true, reason: null }]);
  });

  it('warns of an expiring certificate and an expired key, and of more processes than cores, which do not prevent a start', async () => {
    const keys = ['--set', `authApiKeysFile=${at('keys.yaml')}`];
    const { code, report } = await examine(...pair('soon'), ...keys, '--processes', '64');
    assert.equal(code, 0);
    assert.deepEqual([states(report)['tls'], states(report)['apiKeys']], ['warning', 'warning']);
    assert.equal(states(report)['processes'], availableParallelism() < 64 ? 'warning' : 'ok');
    assert.match(report.warnings.join('\n'), /2 days left[\s\S]*expired: old-detector/);
  });

  it('counts four workers for each process of auto, whatever cores Node counts', async () => {
    const { report } = await examine('--workers', '8', '--processes', 'auto');
    const detail = report.checks.find(({ name }) => name === 'processes')?.detail ?? '';
    assert.match(detail, /^2 server processes on /);
  });

  it('exits with 1 and names the problem that would prevent a start', async () => {
    const tokens = [
      '--set',
      'authIssuer=i',
      '--set',
      'authAudience=a',
      '--set',
      `authJwks=${at('jwks.json')}`,
    ];
    for (const [args, problem] of [
      [pair('expired'), /tls: .*expired on/],
      [pair('own', 'other'), /tls: .*not the key/],
      [tokens, /tokens: 0 keys/],
      [['--set', 'maxAcquisitionBytes=1099511627776'], /memory: open acquisitions may take 1048576 MiB/],
      [['--set', 'maxQueuMs=1'], /configuration: .*did you mean maxQueueMs/],
      [['--listen', '0.0.0.0:1'], /configuration: .*plaintext/],
      [
        ['--listen', '192.0.2.1:50051', '--set', 'allowPlaintext=true'],
        /port: 192\.0\.2\.1:50051: this machine has no such address/,
      ],
    ] as const) {
      const { code, report } = await examine(...args);
      assert.equal(code, 1, String(problem));
      assert.match(report.problems.join('\n'), problem);
      assert.ok(['openvino', 'onnx'].includes(report.engine ?? ''), String(report.engine));
    }
  });

  it('reports the engine of a running server, and a server that does not answer', async () => {
    const server = await startServe('--models', models.path, '--engine', 'onnx', '--workers', '1');
    try {
      const run = await salad('doctor', '--target', server.address, '--json');
      assert.equal(run.code, 0, run.stderr);
      assertKeepsFields('doctor --target', run.lines[0]);
      const beside = await examine('--listen', server.address);
      assert.deepEqual([beside.code, states(beside.report)['port']], [0, 'warning']);
      assert.deepEqual(run.lines[0], {
        target: server.address,
        serving: true,
        engine: 'onnx',
        engines: [
          { name: 'onnx', state: 'SERVING' },
          { name: 'wasm', state: 'NOT_SERVING' },
        ],
        models: ['small@1'],
        problems: [],
      });
    } finally {
      await server.stop();
    }
    const gone = await saladUnder({}, 'doctor', '--target', server.address, '--json');
    assert.equal(gone.code, 1);
    assert.equal(gone.lines[0]?.['serving'], false);
  });
});
