import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT, UnsecuredJWT } from 'jose';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { stringify } from 'yaml';
import { SaladClient, type SaladClientError } from '../../clients/typescript/src/index.js';
import { makeApiKey } from '../../src/auth/api-keys.js';
import { countTokenKeys } from '../../src/auth/tokens.js';
import type { RunningServer } from '../../src/server/server.js';
import { makeAuthority } from '../support/certificates.js';
import { healthClient } from '../support/health-client.js';
import {
  type ModelsFolder,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/small-server.js';

const ISSUER = 'https://issuer.example';
const AUDIENCE = 'salad';
const claims = { iss: ISSUER, aud: AUDIENCE, sub: 'detector-7', scope: 'openid score' };
const seconds = () => Math.floor(Date.now() / 1000);
const ask = { timeoutMs: 20_000 };

/** An issuer with one key of that name. */
async function makeIssuer(kid: string) {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk: JWK = { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' };
  const sign = (changes: Record<string, unknown> = {}, expiresIn = 60) =>
    new SignJWT({ ...claims, exp: seconds() + expiresIn, ...changes })
      .setProtectedHeader({ alg: 'ES256', kid })
      .sign(privateKey);
  return { jwk, publicKey, sign };
}

describe('who is calling', function () {
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

  const start = async (flags: Record<string, unknown>) => {
    server = await startSmall(models.path, { securityReloadMs: 10, ...flags });
    return server;
  };
  const as = (credentials: { token?: string; apiKey?: string }) => {
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

  it('takes a token of the issuer, and nothing that only looks like one', async () => {
    const issuer = await makeIssuer('one');
    const forger = await makeIssuer('one');
    await start(tokenFlags(await jwksFile(issuer.jwk)));
    const known = as({ token: await issuer.sign() });
    const rows = smallRows(smallImage(1));
    assert.equal((await known.scoreAcquisition(smallHeader('token'), rows)).coverage?.scored, 64);
    await as({ token: await issuer.sign({}, -10) }).listModels(ask); // within the skew

    // An HMAC made with the public key as its secret, and no signature at all: the classics.
    const secret = Buffer.from(await exportSPKI(issuer.publicKey));
    const confused = new SignJWT({ ...claims, exp: seconds() + 60 }).setProtectedHeader({
      alg: 'HS256',
      kid: 'one',
    });
    const wrong: Record<string, string> = {
      expired: await issuer.sign({}, -60),
      'another issuer': await issuer.sign({ iss: 'https://other.example' }),
      'another audience': await issuer.sign({ aud: 'other' }),
      'not yet valid': await issuer.sign({ nbf: seconds() + 600 }),
      'without an end': await issuer.sign({ exp: undefined }),
      'without a subject': await issuer.sign({ sub: undefined }),
      forged: await forger.sign(),
      'HMAC by the public key': await confused.sign(secret),
      unsigned: new UnsecuredJWT(claims).setExpirationTime('1 minute').encode(),
      'no token': 'x',
    };
    for (const [what, token] of Object.entries(wrong)) {
      await assert.rejects(as({ token }).listModels(ask), invalid, what);
    }
    await assert.rejects(as({}).listModels(ask), refusedAs('UNAUTHENTICATED', 'CREDENTIALS_MISSING'));
    const scoring = as({}).scoreAcquisition(smallHeader('none'), smallRows(smallImage(1)));
    await assert.rejects(scoring, refusedAs('UNAUTHENTICATED', 'CREDENTIALS_MISSING'));
  });

  it('wants the scope: admin alone scores nothing', async () => {
    const issuer = await makeIssuer('one');
    await start(tokenFlags(await jwksFile(issuer.jwk)));
    for (const scope of ['admin', 'scored', '', undefined]) {
      const token = await issuer.sign({ scope });
      await assert.rejects(as({ token }).listModels(ask), refusedAs('PERMISSION_DENIED', 'SCOPE_MISSING'));
    }
    await as({ token: await issuer.sign({ scope: undefined, scp: ['score'] }) }).listModels(ask);
  });

  it('leaves health open', async () => {
    const issuer = await makeIssuer('one');
    const running = await start(tokenFlags(await jwksFile(issuer.jwk)));
    const health = healthClient(running.address);
    assert.equal(await health.check(''), 'SERVING');
    health.close();
  });

  describe('with the keys of its issuer at an URL', () => {
    let answer: { status: number; keys: JWK[] };
    let requests: number;
    let url: string;
    /** Bytes of an answer that never ends. */
    let sent = 0;
    const web = createServer((request, response) => {
      requests += 1;
      if (request.url === '/endless') {
        const megabyte = Buffer.alloc(1024 * 1024, ' ');
        const write = () => {
          do sent += megabyte.byteLength;
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

    it('says where it cannot fetch them, outlives an outage, and forgets keys that are withdrawn', async () => {
      const [old, next] = [await makeIssuer('old'), await makeIssuer('next')];
      await start(tokenFlags(url));
      const client = as({ token: await old.sign() });
      await assert.rejects(client.listModels(ask), refusedAs('UNAVAILABLE', 'CREDENTIALS_UNVERIFIABLE'));
      answer = { status: 200, keys: [old.jwk] };
      await client.listModels(ask);
      const asked = requests;
      answer = { status: 500, keys: [] };
      await until(async () => assert.ok(requests > asked + 2));
      await client.listModels(ask);
      answer = { status: 200, keys: [next.jwk] };
      await until(() => assert.rejects(client.listModels(ask), invalid));
    });

    it('reads no more of an answer than a set of keys can be', async () => {
      const issuer = await makeIssuer('endless');
      const endless = url.replace('/keys', '/endless');
      await start(tokenFlags(endless));
      const client = as({ token: await issuer.sign() });
      await assert.rejects(client.listModels(ask), refusedAs('UNAVAILABLE', 'CREDENTIALS_UNVERIFIABLE'));
      await assert.rejects(countTokenKeys(endless), {
        reason: 'CONFIGURATION_INVALID',
        message: /larger than/,
      });
      // What the kernel's buffers hold is sent as well.
      assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes`);
    });

    it('asks again for a key that it does not know, and not for every token', async () => {
      const [old, next, forger] = [
        await makeIssuer('old'),
        await makeIssuer('next'),
        await makeIssuer('forged'),
      ];
      await start({ ...tokenFlags(url), securityReloadMs: 86_400_000 });
      answer = { status: 200, keys: [old.jwk] };
      await as({ token: await old.sign() }).listModels(ask);
      answer = { status: 200, keys: [old.jwk, next.jwk] };
      const client = as({ token: await next.sign() });
      await until(() => client.listModels(ask));
      assert.equal(requests, 2);
      const flood = as({ token: await forger.sign() });
      for (let index = 0; index < 20; index++) await assert.rejects(flood.listModels(ask), invalid);
      assert.ok(requests < 12, `${requests} requests`);
    });
  });

  it('takes API keys by their hash, until they expire or leave the file', async () => {
    const good = makeApiKey({ name: 'detector-7', scopes: ['score'] });
    const late = makeApiKey({ name: 'old', scopes: ['score'], expires: '2020-01-01T00:00:00Z' });
    const file = await keysFile(good.entry, late.entry);
    await start({ authApiKeysFile: file });
    const client = as({ apiKey: good.key });
    await client.listModels(ask);
    await assert.rejects(as({ apiKey: late.key }).listModels(ask), invalid);
    await assert.rejects(as({ apiKey: good.entry.sha256 }).listModels(ask), invalid);
    await assert.rejects(
      as({ token: 'x' }).listModels(ask),
      refusedAs('UNAUTHENTICATED', 'CREDENTIALS_MISSING'),
    );
    await writeFile(file, 'keys: [half');
    await sleep(100);
    await client.listModels(ask);
    await keysFile();
    await until(() => assert.rejects(client.listModels(ask), invalid));
  });

  it('refuses to start on key files that are not sound, and on settings that let everybody in', async () => {
    const { entry } = makeApiKey({ name: 'a', scopes: ['score'] });
    const refused = { reason: 'CONFIGURATION_INVALID' };
    for (const entries of [
      [{ ...entry, sha256: 'short' }],
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

  describe('may take no more than is meant for one', () => {
    const one = makeApiKey({ name: 'one', scopes: ['score'] });
    const other = makeApiKey({ name: 'other', scopes: ['score'] });
    const startLimited = async (flags: Record<string, unknown>) =>
      start({ authApiKeysFile: await keysFile(one.entry, other.entry), ...flags });

    it('acquisitions at once: the next is refused with a delay; another identity has its own', async () => {
      await startLimited({ identityMaxAcquisitions: 1, retryDelayMs: 77 });
      const [mine, theirs] = [as({ apiKey: one.key }), as({ apiKey: other.key })];
      let open: () => void = () => {};
      const held = new Promise<void>((resolve) => {
        open = resolve;
      });
      const rows = smallRows(smallImage(1));
      const events = mine.streamAcquisition(smallHeader('held'), async function* () {
        await held;
        yield* rows;
      });
      assert.equal((await events.next()).value?.type, 'accepted');
      await assert.rejects(mine.scoreAcquisition(smallHeader('second'), rows), (error: SaladClientError) => {
        assert.equal(error.retryAfterMs, 77);
        return refusedAs('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED')(error);
      });
      await theirs.scoreAcquisition(smallHeader('theirs'), rows);
      open();
      for await (const _event of events);
      await mine.scoreAcquisition(smallHeader('third'), rows);
    });

    it('shares of the server are those of identities, though all come from one address', async () => {
      await startLimited({ maxConcurrentAcquisitions: 4, headerTimeoutMs: 30_000 });
      const [mine, theirs] = [as({ apiKey: one.key }), as({ apiKey: other.key })];
      const rows = smallRows(smallImage(1));
      let finish: () => void = () => {};
      const gate = new Promise<void>((resolve) => {
        finish = resolve;
      });
      const hold = async () => {
        const events = mine.streamAcquisition(smallHeader('held'), async function* () {
          await gate;
          yield* rows;
        });
        assert.equal((await events.next()).value?.type, 'accepted');
        return events;
      };
      const held = [await hold(), await hold(), await hold()];
      const refused = refusedAs('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED');
      await assert.rejects(mine.scoreAcquisition(smallHeader('fourth'), rows), refused);
      await theirs.scoreAcquisition(smallHeader('theirs'), rows);
      finish();
      for (const events of held) for await (const _event of events);
    });

    it('where there are no keys, a client certificate is an identity', async () => {
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
      const [mine, minesTwin, theirs] = [
        await withCertificate('detector-1'),
        await withCertificate('detector-1'),
        await withCertificate('detector-2'),
      ];
      let open: () => void = () => {};
      const gate = new Promise<void>((resolve) => {
        open = resolve;
      });
      const held = mine.streamAcquisition(smallHeader('held'), async function* () {
        await gate;
        yield* smallRows(smallImage(1));
      });
      assert.equal((await held.next()).value?.type, 'accepted');
      const rows = smallRows(smallImage(1));
      await assert.rejects(
        minesTwin.scoreAcquisition(smallHeader('twin'), rows),
        (error: SaladClientError) => {
          assert.match(error.message, /certificate detector-1/);
          return refusedAs('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED')(error);
        },
      );
      await theirs.scoreAcquisition(smallHeader('theirs'), rows);
      open();
      await held.return();
    });

    it('bytes per second: reading pauses; what would take too long is refused with its delay', async () => {
      await startLimited({ identityMaxBytesPerSecond: 2048, idleTimeoutMs: 2000 });
      const mine = as({ apiKey: one.key });
      const started = performance.now();
      await mine.scoreAcquisition(smallHeader('rows'), smallRows(smallImage(1)));
      const tookMs = performance.now() - started;
      // 4 KiB at 2 KiB/s, of which one second is free.
      assert.ok(tookMs >= 900, `${tookMs} ms`);
      const side = 256;
      const header = { ...smallHeader('whole'), image: { rows: side, columns: side, bitsAllocated: 8 } };
      const whole = (client: SaladClient) => client.scoreImage(header, { raw: new Uint8Array(side * side) });
      // One message may be had on credit, whatever its size; the calls after it wait for 32 s to pass.
      await whole(mine);
      await assert.rejects(whole(mine), (error: SaladClientError) => {
        assert.ok((error.retryAfterMs ?? 0) > 1000, String(error.retryAfterMs));
        return refusedAs('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED')(error);
      });
      await whole(as({ apiKey: other.key }));
    });
  });
});

/** Tries again until it succeeds, for at most 20 s. */
async function until(attempt: () => Promise<unknown>): Promise<void> {
  const end = performance.now() + 20_000;
  for (;;) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
      await sleep(50);
    }
  }
}
