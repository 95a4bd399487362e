import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT, UnsecuredJWT } from 'jose';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { stringify } from 'yaml';
import { SaladClient, type SaladClientError } from '../../clients/typescript/src/index.js';
import { makeApiKey } from '../../src/auth/api-keys.js';
import { countTokenKeys } from '../../src/auth/tokens.js';
import type { RunningServer, ServerOptions } from '../../src/server/server.js';
import { eventually } from '../support/eventually.js';
import { CapturedLog } from '../support/measurements/captured-log.js';
import { makeAuthority } from '../support/network/certificates.js';
import { healthClient } from '../support/protocol/health-client.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/servers/small-server.js';

const ISSUER = 'https://issuer.example';
const AUDIENCE = 'salad';
const claims = { iss: ISSUER, aud: AUDIENCE, sub: 'detector-7', scope: 'openid score' };
const seconds = () => Math.floor(Date.now() / 1000);
const OPTIONS = { timeoutMs: 20_000 };

/** An issuer with one key, which has this key id. */
async function makeIssuer(kid: string) {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk: JWK = { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' };
  const sign = (changes: Record<string, unknown> = {}, expiresIn = 60) =>
    new SignJWT({ ...claims, exp: seconds() + expiresIn, ...changes })
      .setProtectedHeader({ alg: 'ES256', kid })
      .sign(privateKey);
  return { jwk, publicKey, sign };
}

describe('the authentication of callers', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let folder: string;
  let server: RunningServer | undefined;
  const clients: SaladClient[] = [];

  before(async () => {
    models = await smallModels();
    folder = await mkdtemp(join(tmpdir(), 'salad-auth-'));
  });
  after(async () => {
    await models.remove();
    await rm(folder, { recursive: true });
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    await server?.stop(0);
    server = undefined;
  });

  const start = async (flags: Record<string, unknown>, options: ServerOptions = {}) => {
    server = await startSmall(models.path, { securityReloadMs: 10, ...flags }, options);
    return server;
  };
  const clientWith = (credentials: { token?: string; apiKey?: string }) => {
    const client = new SaladClient(server!.address, { ...credentials, retry: false });
    clients.push(client);
    return client;
  };
  const refusedAs = (status: string, reason: string) => (error: SaladClientError) => {
    assert.deepEqual([error.status, error.reason], [status, reason], error.message);
    return true;
  };
  const invalid = refusedAs('UNAUTHENTICATED', 'CREDENTIALS_INVALID');
  const tokenFlags = (authJwks: string) => ({ authJwks, authIssuer: ISSUER, authAudience: AUDIENCE });
  const jwksFile = async (...keys: JWK[]) => {
    const file = join(folder, 'jwks.json');
    await writeFile(file, JSON.stringify({ keys }));
    return file;
  };
  const keysFile = async (...entries: unknown[]) => {
    const file = join(folder, 'keys.yaml');
    await writeFile(file, stringify({ keys: entries }));
    return file;
  };

  it('accepts a valid token of the issuer, and refuses every invalid or forged one', async () => {
    const issuer = await makeIssuer('one');
    const forger = await makeIssuer('one');
    await start(tokenFlags(await jwksFile(issuer.jwk)));
    const client = clientWith({ token: await issuer.sign() });
    const rows = smallRows(smallImage(1));
    assert.equal((await client.scoreAcquisition(smallHeader('token'), rows)).coverage?.scored, 64);
    await clientWith({ token: await issuer.sign({}, -10) }).listModels(OPTIONS); // within the skew

    // Two well-known attacks: an HMAC with the public key as its secret, and a token without a signature.
    const secret = Buffer.from(await exportSPKI(issuer.publicKey));
    const signedByHmac = new SignJWT({ ...claims, exp: seconds() + 60 }).setProtectedHeader({
      alg: 'HS256',
      kid: 'one',
    });
    const wrong: Record<string, string> = {
      expired: await issuer.sign({}, -60),
      'another issuer': await issuer.sign({ iss: 'https://other.example' }),
      'another audience': await issuer.sign({ aud: 'other' }),
      'not yet valid': await issuer.sign({ nbf: seconds() + 600 }),
      'without expiry': await issuer.sign({ exp: undefined }),
      'without a subject': await issuer.sign({ sub: undefined }),
      forged: await forger.sign(),
      'HMAC by the public key': await signedByHmac.sign(secret),
      unsigned: new UnsecuredJWT(claims).setExpirationTime('1 minute').encode(),
      'not a token': 'x',
    };
    for (const [what, token] of Object.entries(wrong)) {
      await assert.rejects(clientWith({ token }).listModels(OPTIONS), invalid, what);
    }
    await assert.rejects(
      clientWith({}).listModels(OPTIONS),
      refusedAs('UNAUTHENTICATED', 'CREDENTIALS_MISSING'),
    );
    const scoring = clientWith({}).scoreAcquisition(smallHeader('none'), smallRows(smallImage(1)));
    await assert.rejects(scoring, refusedAs('UNAUTHENTICATED', 'CREDENTIALS_MISSING'));
  });

  it('requires the scope "score" for scoring: the scope "admin" does not include it', async () => {
    const issuer = await makeIssuer('one');
    await start(tokenFlags(await jwksFile(issuer.jwk)));
    for (const scope of ['admin', 'scored', '', undefined]) {
      const token = await issuer.sign({ scope });
      await assert.rejects(
        clientWith({ token }).listModels(OPTIONS),
        refusedAs('PERMISSION_DENIED', 'SCOPE_MISSING'),
      );
    }
    await clientWith({ token: await issuer.sign({ scope: undefined, scp: ['score'] }) }).listModels(OPTIONS);
  });

  it('requires no credentials for health', async () => {
    const issuer = await makeIssuer('one');
    const running = await start(tokenFlags(await jwksFile(issuer.jwk)));
    const health = healthClient(running.address);
    assert.equal(await health.check(''), 'SERVING');
    health.close();
  });

  describe('with the key set of the issuer at a URL', () => {
    let answer: { status: number; keys: JWK[] };
    let requests: number;
    let url: string;
    /** Bytes sent of an answer without an end. */
    let sentBytes = 0;
    const web = createServer((request, response) => {
      requests += 1;
      if (request.url === '/endless') {
        const megabyte = Buffer.alloc(1024 * 1024, ' ');
        const write = () => {
          do sentBytes += megabyte.byteLength;
          while (response.write(megabyte));
        };
        response.on('drain', write);
        write();
        return;
      }
      response.writeHead(answer.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ keys: answer.keys }));
    });
    before(async () => {
      await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
      url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/keys`;
    });
    beforeEach(() => {
      answer = { status: 500, keys: [] };
      requests = 0;
    });
    after(() => {
      web.closeAllConnections();
      web.close();
    });

    it('refuses tokens before the first fetch, uses the last key set during an outage, and drops withdrawn keys', async () => {
      const [old, next] = [await makeIssuer('old'), await makeIssuer('next')];
      await start(tokenFlags(url));
      const client = clientWith({ token: await old.sign() });
      await assert.rejects(client.listModels(OPTIONS), refusedAs('UNAVAILABLE', 'CREDENTIALS_UNVERIFIABLE'));
      answer = { status: 200, keys: [old.jwk] };
      await client.listModels(OPTIONS);
      const requestsBefore = requests;
      answer = { status: 500, keys: [] };
      await eventually(async () => assert.ok(requests > requestsBefore + 2));
      await client.listModels(OPTIONS);
      answer = { status: 200, keys: [next.jwk] };
      await eventually(() => assert.rejects(client.listModels(OPTIONS), invalid));
    });

    it('stops reading an answer that is larger than any key set', async () => {
      const issuer = await makeIssuer('endless');
      const endless = url.replace('/keys', '/endless');
      await start(tokenFlags(endless));
      const client = clientWith({ token: await issuer.sign() });
      await assert.rejects(client.listModels(OPTIONS), refusedAs('UNAVAILABLE', 'CREDENTIALS_UNVERIFIABLE'));
      await assert.rejects(countTokenKeys(endless), {
        reason: 'CONFIGURATION_INVALID',
        message: /larger than/,
      });
      // Bytes in the kernel's buffers count as sent, too.
      assert.ok(sentBytes < 64 * 1024 * 1024, `${sentBytes} bytes`);
    });

    it('fetches the key set again for an unknown key, but not for every token', async () => {
      const [old, next, forger] = [
        await makeIssuer('old'),
        await makeIssuer('next'),
        await makeIssuer('forged'),
      ];
      await start({ ...tokenFlags(url), securityReloadMs: 86_400_000 });
      answer = { status: 200, keys: [old.jwk] };
      await clientWith({ token: await old.sign() }).listModels(OPTIONS);
      answer = { status: 200, keys: [old.jwk, next.jwk] };
      const client = clientWith({ token: await next.sign() });
      await eventually(() => client.listModels(OPTIONS));
      assert.equal(requests, 2);
      const forging = clientWith({ token: await forger.sign() });
      for (let index = 0; index < 20; index++) await assert.rejects(forging.listModels(OPTIONS), invalid);
      assert.ok(requests < 12, `${requests} requests`);
    });
  });

  it('accepts API keys whose hash is in the file, until they expire or are removed', async () => {
    const valid = makeApiKey({ name: 'detector-7', scopes: ['score'] });
    const expired = makeApiKey({ name: 'old', scopes: ['score'], expires: '2020-01-01T00:00:00Z' });
    const file = await keysFile(valid.entry, expired.entry);
    const log = new CapturedLog();
    await start({ authApiKeysFile: file }, { logger: log.logger });
    const client = clientWith({ apiKey: valid.key });
    await client.listModels(OPTIONS);
    await assert.rejects(clientWith({ apiKey: expired.key }).listModels(OPTIONS), invalid);
    await assert.rejects(clientWith({ apiKey: valid.entry.sha256 }).listModels(OPTIONS), invalid);
    await assert.rejects(
      clientWith({ token: 'x' }).listModels(OPTIONS),
      refusedAs('UNAUTHENTICATED', 'CREDENTIALS_MISSING'),
    );
    await writeFile(file, 'keys: [half');
    await log.line(/changed API keys are invalid/);
    await client.listModels(OPTIONS);
    await keysFile();
    await eventually(() => assert.rejects(client.listModels(OPTIONS), invalid));
  });

  it('refuses to start with invalid key files, and with settings that admit every caller', async () => {
    const { entry } = makeApiKey({ name: 'a', scopes: ['score'] });
    const refused = { reason: 'CONFIGURATION_INVALID' };
    for (const entries of [
      [{ ...entry, sha256: 'short' }],
      [{ ...entry, name: 'a\nb' }],
      [entry, entry],
      [{ ...entry, scope: ['root'] }],
    ]) {
      const authApiKeysFile = await keysFile(...entries);
      await assert.rejects(start({ authApiKeysFile }), refused);
    }
    const issuer = await makeIssuer('one');
    const jwks = await jwksFile(issuer.jwk);
    await assert.rejects(start({ ...tokenFlags(jwks), authAudience: '' }), refused);
    for (const authJwks of [
      'http://issuer.example/keys',
      'http://localhost:1@issuer.example/keys',
      'http://127.0.0.1@issuer.example/keys',
      'http://localhost.issuer.example/keys',
      'https://user:secret@issuer.example/keys',
      'http://',
    ]) {
      await assert.rejects(start({ ...tokenFlags(jwks), authJwks }), refused, authJwks);
    }
    await assert.rejects(start({ ...tokenFlags(jwks), authJwks: '' }), refused);
    await assert.rejects(start({ listen: '0.0.0.0:0', allowPlaintext: true, admin: true }), refused);
  });

  describe('limits of one identity', () => {
    const one = makeApiKey({ name: 'one', scopes: ['score'] });
    const other = makeApiKey({ name: 'other', scopes: ['score'] });
    const startLimited = async (flags: Record<string, unknown>) =>
      start({ authApiKeysFile: await keysFile(one.entry, other.entry), ...flags });

    it('refuses an acquisition above the limit with a retry delay; other identities have their own limit', async () => {
      await startLimited({ identityMaxAcquisitions: 1, retryDelayMs: 77 });
      const [client, otherClient] = [clientWith({ apiKey: one.key }), clientWith({ apiKey: other.key })];
      let open: () => void = () => {};
      const held = new Promise<void>((resolve) => {
        open = resolve;
      });
      const rows = smallRows(smallImage(1));
      const events = client.streamAcquisition(smallHeader('held'), async function* () {
        await held;
        yield* rows;
      });
      assert.equal((await events.next()).value?.type, 'accepted');
      await assert.rejects(
        client.scoreAcquisition(smallHeader('second'), rows),
        (error: SaladClientError) => {
          assert.equal(error.retryAfterMs, 77);
          return refusedAs('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED')(error);
        },
      );
      await otherClient.scoreAcquisition(smallHeader('other'), rows);
      open();
      for await (const _event of events);
      await client.scoreAcquisition(smallHeader('third'), rows);
    });

    it('limits the shares of identities that connect from one address', async () => {
      await startLimited({ maxConcurrentAcquisitions: 4, headerTimeoutMs: 30_000 });
      const [client, otherClient] = [clientWith({ apiKey: one.key }), clientWith({ apiKey: other.key })];
      const rows = smallRows(smallImage(1));
      let finish: () => void = () => {};
      const gate = new Promise<void>((resolve) => {
        finish = resolve;
      });
      const hold = async () => {
        const events = client.streamAcquisition(smallHeader('held'), async function* () {
          await gate;
          yield* rows;
        });
        assert.equal((await events.next()).value?.type, 'accepted');
        return events;
      };
      const held = [await hold(), await hold(), await hold()];
      const refused = refusedAs('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED');
      await assert.rejects(client.scoreAcquisition(smallHeader('fourth'), rows), refused);
      await otherClient.scoreAcquisition(smallHeader('other'), rows);
      finish();
      for (const events of held) for await (const _event of events);
    });

    it('uses the client certificate as identity where no keys or tokens are set up', async () => {
      const authority = await makeAuthority();
      const names = { tlsCertFile: 'server.pem', tlsKeyFile: 'server.key', tlsClientCaFile: 'ca.pem' };
      const flags = Object.fromEntries(Object.entries(names).map(([key, name]) => [key, join(folder, name)]));
      const own = await authority.issue({ commonName: 'salad' });
      await writeFile(join(folder, 'server.pem'), own.certificate);
      await writeFile(join(folder, 'server.key'), own.privateKey);
      await writeFile(join(folder, 'ca.pem'), authority.certificate);
      const running = await start({ ...flags, identityMaxAcquisitions: 1 });
      const withCertificate = async (commonName: string) => {
        const tls = { ca: authority.certificate, ...(await authority.issue({ commonName })) };
        const client = new SaladClient(running.address, { tls, retry: false });
        clients.push(client);
        return client;
      };
      const [client, sameName, otherClient] = [
        await withCertificate('detector-1'),
        await withCertificate('detector-1'),
        await withCertificate('detector-2'),
      ];
      let open: () => void = () => {};
      const gate = new Promise<void>((resolve) => {
        open = resolve;
      });
      const held = client.streamAcquisition(smallHeader('held'), async function* () {
        await gate;
        yield* smallRows(smallImage(1));
      });
      assert.equal((await held.next()).value?.type, 'accepted');
      const rows = smallRows(smallImage(1));
      await assert.rejects(
        sameName.scoreAcquisition(smallHeader('same'), rows),
        (error: SaladClientError) => {
          assert.match(error.message, /certificate detector-1/);
          return refusedAs('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED')(error);
        },
      );
      await otherClient.scoreAcquisition(smallHeader('other'), rows);
      open();
      await held.return();
    });

    it('pauses reading above the byte rate, and refuses a call that would have to wait too long', async () => {
      await startLimited({ identityMaxBytesPerSecond: 2048, idleTimeoutMs: 2000 });
      const client = clientWith({ apiKey: one.key });
      const started = performance.now();
      await client.scoreAcquisition(smallHeader('rows'), smallRows(smallImage(1)));
      const tookMs = performance.now() - started;
      // 4 KiB at 2 KiB/s, with a burst of one second.
      assert.ok(tookMs >= 900, `${tookMs} ms`);
      const side = 256;
      const header = { ...smallHeader('large'), image: { rows: side, columns: side, bitsAllocated: 8 } };
      const scoreLarge = (sender: SaladClient) =>
        sender.scoreImage(header, { raw: new Uint8Array(side * side) });
      // One message is accepted whatever its size; later calls must wait for 32 s.
      await scoreLarge(client);
      await assert.rejects(scoreLarge(client), (error: SaladClientError) => {
        assert.ok((error.retryAfterMs ?? 0) > 1000, String(error.retryAfterMs));
        return refusedAs('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED')(error);
      });
      await scoreLarge(clientWith({ apiKey: other.key }));
    });
  });
});
