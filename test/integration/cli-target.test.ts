import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { stringify } from 'yaml';
import { makeApiKey } from '../../src/auth/api-keys.js';
import type { RunningServer } from '../../src/server/server.js';
import { makeAuthority } from '../support/network/certificates.js';
import { runSalad } from '../support/programs/in-process-salad.js';
import { type ModelsFolder, smallModels, startSmall } from '../support/servers/small-server.js';

/** What each kind of server is asked in a way that cannot work, and what the answer tells to try. */
describe('a server that cannot be called', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let folder: string;
  const servers: Record<string, RunningServer> = {};
  let closedPort = 0;
  const at = (name: string) => join(folder, name);

  before(async () => {
    models = await smallModels();
    folder = mkdtempSync(join(tmpdir(), 'salad-target-'));
    const [authority, stranger] = [await makeAuthority(), await makeAuthority('stranger')];
    writeFileSync(at('ca.pem'), authority.certificate);
    writeFileSync(at('stranger-ca.pem'), stranger.certificate);
    const pairs = {
      server: await authority.issue({ commonName: 'salad' }),
      stranger: await stranger.issue({ commonName: 'stranger' }),
    };
    for (const [name, { certificate, privateKey }] of Object.entries(pairs)) {
      writeFileSync(at(`${name}.pem`), certificate);
      writeFileSync(at(`${name}.key`), privateKey);
    }
    const admin = makeApiKey({ name: 'ops', scopes: ['admin'] });
    writeFileSync(at('keys.yaml'), stringify({ keys: [admin.entry] }));
    writeFileSync(at('admin-key'), admin.key);
    writeFileSync(at('unknown-key'), 'salad_unknown');
    writeFileSync(at('token'), 'header.payload.signature');
    writeFileSync(at('two-lines'), 'first\nsecond');
    const tls = { tlsCertFile: at('server.pem'), tlsKeyFile: at('server.key') };
    servers['plain'] = await startSmall(models.path);
    servers['tls'] = await startSmall(models.path, tls);
    servers['mtls'] = await startSmall(models.path, { ...tls, tlsClientCaFile: at('ca.pem') });
    servers['keys'] = await startSmall(models.path, { authApiKeysFile: at('keys.yaml') });
    closedPort = await freePort();
  });
  after(async () => {
    for (const server of Object.values(servers)) await server.stop(0);
    await models.remove();
    rmSync(folder, { recursive: true });
  });

  async function refused(target: string, flags: readonly string[], message: RegExp, code = 1): Promise<void> {
    writeFileSync(at('x.png'), '');
    for (const verb of [['score', at('x.png')], ['load'], ['doctor']]) {
      const run = await runSalad(...verb, '--target', target, ...flags);
      const text = `${verb[0]}: ${run.stdout}${run.stderr}`;
      assert.equal(run.code, code, text);
      assert.match(text, message);
      assert.doesNotMatch(text, /\n {4}at |round_robin|Resolution note|engine +state\n\n/);
    }
  }

  it('does not listen', () =>
    refused(`127.0.0.1:${closedPort}`, [], /127\.0\.0\.1:\d+ refuses the connection/));

  it('has no address', async () => {
    await refused('no-such-host.invalid:50051', [], /host name cannot be resolved/);
    await refused('http://127.0.0.1:50051', [], /HOST:PORT without http/, 2);
    await refused('localhost', [], /write HOST:PORT/, 2);
    await refused('localhost:99999', [], /the port must be 1 to 65535/, 2);
  });

  it('requires TLS, or does not use it', async () => {
    await refused(address('tls'), [], /add --tls or --ca-file/);
    await refused(address('plain'), ['--ca-file', at('ca.pem')], /does not speak TLS/);
  });

  it('has a certificate that is not trusted', () =>
    refused(address('tls'), ['--ca-file', at('stranger-ca.pem')], /not trusted here: add it with --ca-file/));

  it('requires a client certificate, or another one', async () => {
    const ca = ['--ca-file', at('ca.pem')];
    await refused(address('mtls'), ca, /--cert-file/);
    const own = ['--cert-file', at('stranger.pem'), '--key-file', at('stranger.key')];
    await refused(address('mtls'), [...ca, ...own], /client certificate/);
  });

  it('requires credentials, others, or more of them', async () => {
    await refused(address('keys'), [], /requires credentials .*--api-key-file/);
    await refused(address('keys'), ['--api-key-file', at('unknown-key')], /does not accept the token or key/);
    await refused(address('keys'), ['--api-key-file', at('admin-key')], /does not allow this/);
  });

  it('is not called with a TLS file that holds no PEM', async () => {
    const key = ['--key-file', at('server.key')];
    writeFileSync(at('empty'), '');
    writeFileSync(at('cut.pem'), readFileSync(at('ca.pem'), 'utf8').slice(0, 200));
    const cases: readonly (readonly [readonly string[], RegExp])[] = [
      [['--ca-file', at('token')], /--ca-file \S+token holds no PEM certificate \(a block/],
      [['--ca-file', at('empty')], /--ca-file \S+empty holds no PEM certificate: it is empty/],
      [['--ca-file', at('server.key')], /--ca-file \S+ holds no PEM certificate: it holds a private key/],
      [['--ca-file', at('cut.pem')], /--ca-file \S+ holds a PEM certificate that is damaged or incomplete/],
      [['--cert-file', at('token'), ...key], /--cert-file \S+token holds no PEM certificate/],
      [
        ['--cert-file', at('server.pem'), '--key-file', at('token')],
        /--key-file \S+ holds no PEM private key/,
      ],
    ];
    for (const [flags, message] of cases) await refused(address('tls'), flags, message, 2);
  });

  it('does not start with a TLS file that holds no PEM', async () => {
    const good = {
      tlsCertFile: at('server.pem'),
      tlsKeyFile: at('server.key'),
      tlsClientCaFile: at('ca.pem'),
    };
    const wanted = { tlsCertFile: 'certificate', tlsKeyFile: 'private key', tlsClientCaFile: 'certificate' };
    for (const [key, kind] of Object.entries(wanted)) {
      const files = { ...good, [key]: at('token') };
      const flags = Object.entries(files).flatMap(([name, file]) => ['--set', `${name}=${file}`]);
      const run = await runSalad('serve', '--listen', '127.0.0.1:0', '--models', models.path, ...flags);
      assert.equal(run.code, 2, run.stderr);
      assert.match(run.stderr, new RegExp(`${key} \\S+token: holds no PEM ${kind} `));
      assert.doesNotMatch(run.stderr, /error:[0-9A-F]{8}/);
    }
  });

  it('is not called with invalid credentials', async () => {
    await refused(address('plain'), ['--token-file', at('two-lines')], /one line of printable/, 2);
    await refused(address('plain'), ['--ca-file', at('missing.pem')], /--ca-file .*: no such file/, 2);
  });

  function address(name: string): string {
    return servers[name]?.address ?? '';
  }
});

/** A port without a listener. */
async function freePort(): Promise<number> {
  const server: Server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}
