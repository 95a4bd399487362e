import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { makeAuthority } from '../support/network/certificates.js';
import { type ServeProcess, salad, saladUnder, startServe } from '../support/programs/salad.js';
import { type ModelsFolder, smallModels } from '../support/servers/small-server.js';

describe('the salad command over TLS and with an API key', function () {
  this.timeout(120_000);
  let models: ModelsFolder;
  let folder: string;
  let server: ServeProcess;
  let key: string;
  const at = (name: string) => join(folder, name);

  before(async () => {
    models = await smallModels();
    folder = mkdtempSync(join(tmpdir(), 'salad-tls-e2e-'));
    const authority = await makeAuthority();
    const own = await authority.issue({ commonName: 'salad' });
    const detector = await authority.issue({ commonName: 'detector-7' });
    writeFileSync(at('ca.pem'), authority.certificate);
    for (const [name, pair] of Object.entries({ server: own, detector })) {
      writeFileSync(at(`${name}.pem`), pair.certificate);
      writeFileSync(at(`${name}.key`), pair.privateKey);
    }
    const made = await salad('config', 'make-key', '--name', 'detector-7');
    writeFileSync(at('keys.yaml'), made.stdout);
    key = /salad_\S+/.exec(made.stderr)?.[0] ?? '';
    writeFileSync(at('key'), `${key}\n`);
    server = await startServe(
      ...['--models', models.path, '--engine', 'onnx', '--workers', '1'],
      ...['--set', `tlsCertFile=${at('server.pem')}`, '--set', `tlsKeyFile=${at('server.key')}`],
      ...['--set', `tlsClientCaFile=${at('ca.pem')}`, '--set', `authApiKeysFile=${at('keys.yaml')}`],
    );
  });
  after(async () => {
    await server.stop();
    await models.remove();
    rmSync(folder, { recursive: true });
  });

  const load = ['load', '--model', 'small', '--size', '64', '--streams', '2', '--duration', '0.5'];
  const json = ['--warm-up', '0', '--slo', 'failed<1', '--json'];

  it('loads a server that requires a client certificate and a key, given by flags or by variables', async () => {
    const files = [
      '--ca-file',
      at('ca.pem'),
      '--cert-file',
      at('detector.pem'),
      '--key-file',
      at('detector.key'),
    ];
    const withKey = [...files, '--api-key-file', at('key')];
    const byFlags = await salad(...load, ...json, '--target', server.address, ...withKey);
    assert.equal(byFlags.code, 0, byFlags.stderr);
    const environment = {
      SALAD_CLIENT_CA_FILE: at('ca.pem'),
      SALAD_CLIENT_CERT_FILE: at('detector.pem'),
      SALAD_CLIENT_KEY_FILE: at('detector.key'),
      SALAD_CLIENT_API_KEY: key,
    };
    const byVariables = await saladUnder(environment, ...load, ...json, '--target', server.address);
    assert.equal(byVariables.code, 0, byVariables.stderr);
    const ok = (run: typeof byFlags) =>
      (run.lines[0]?.['acquisitions'] as { ok: number } | undefined)?.ok ?? 0;
    assert.ok(ok(byFlags) > 0 && ok(byVariables) > 0);
    const withoutCertificate = await salad(...load, '--target', server.address, '--ca-file', at('ca.pem'));
    assert.equal(withoutCertificate.code, 1);
    const withoutKey = await salad(...load, '--target', server.address, ...files);
    assert.equal(withoutKey.code, 1);
    assert.match(withoutKey.stderr, /x-api-key/);
  });

  it('sends no token in plaintext to another machine', async () => {
    const run = await saladUnder(
      { SALAD_CLIENT_TOKEN: 'secret' },
      ...load,
      ...json,
      '--target',
      'salad.example:1',
    );
    assert.equal(run.code, 2);
    assert.match(run.stderr, /plaintext/);
    assert.doesNotMatch(run.stderr, /secret/);
  });

  it('does not start in plaintext on other addresses than loopback, and reports what to do', async () => {
    const run = await salad('serve', '--listen', '0.0.0.0:0', '--models', models.path);
    assert.equal(run.code, 2);
    assert.match(run.stderr, /tlsCertFile.*SALAD_ALLOW_PLAINTEXT/);
  });
});
