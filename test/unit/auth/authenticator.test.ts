import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata } from '@grpc/grpc-js';
import fc from 'fast-check';
import { exportJWK, generateKeyPair } from 'jose';
import { after, before, describe, it } from 'mocha';
import { stringify } from 'yaml';
import { makeApiKey } from '../../../src/auth/api-keys.js';
import { type Authenticator, openAuthenticator } from '../../../src/auth/authenticator.js';
import { loadConfig } from '../../../src/config/load.js';
import type { SaladError } from '../../../src/errors/index.js';
import { silentLogger } from '../../../src/telemetry/logger.js';

const CONNECTION = () => ({ certificate: undefined, address: '192.0.2.1' });
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('openAuthenticator', () => {
  let folder: string;
  let authenticator: Authenticator;
  const key = makeApiKey({ name: 'detector-7', scopes: ['score'] });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'salad-authenticator-'));
    const publicKeys = await Promise.all(
      ['ES256', 'RS256', 'EdDSA'].map(async (alg) => {
        const { publicKey } = await generateKeyPair(alg, { extractable: true });
        return { ...(await exportJWK(publicKey)), kid: alg };
      }),
    );
    await writeFile(join(folder, 'jwks.json'), JSON.stringify({ keys: publicKeys }));
    await writeFile(join(folder, 'keys.yaml'), stringify({ keys: [key.entry] }));
    const config = await loadConfig({
      flags: {
        authJwks: join(folder, 'jwks.json'),
        authIssuer: 'issuer',
        authAudience: 'salad',
        authApiKeysFile: join(folder, 'keys.yaml'),
      },
    });
    authenticator = await openAuthenticator(config, silentLogger());
  });
  after(async () => {
    authenticator.close();
    await rm(folder, { recursive: true });
  });

  const outcomeOf = async (name: string, value: string) => {
    const metadata = new Metadata();
    metadata.set(name, value);
    try {
      const { name: identity } = await authenticator.identify(metadata, CONNECTION);
      return `identified as ${identity}`;
    } catch (error) {
      return (error as SaladError).reason ?? String(error);
    }
  };

  it('refuses any malformed or unsigned token with CREDENTIALS_INVALID, never with an internal error', async () => {
    const algorithm = fc.oneof(
      fc.string(),
      fc.constantFrom('ES256', 'RS256', 'EdDSA', 'HS256', 'none', 'PS512'),
    );
    const header = fc.record(
      {
        alg: algorithm,
        kid: algorithm,
        typ: fc.string(),
        crit: fc.array(fc.string()),
        b64: fc.boolean(),
        zip: fc.string(),
      },
      { requiredKeys: [] },
    );
    const payload = fc.record(
      {
        iss: fc.constant('issuer'),
        aud: fc.constant('salad'),
        sub: fc.anything(),
        exp: fc.anything(),
        nbf: fc.anything(),
      },
      { requiredKeys: [] },
    );
    const signature = fc
      .uint8Array({ maxLength: 256 })
      .map((bytes) => Buffer.from(bytes).toString('base64url'));
    const shaped = fc
      .tuple(header, payload.map(jsonSafe), signature)
      .map(([head, body, signed]) => `${base64url(head)}.${base64url(body)}.${signed}`);
    const garbage = fc.string({ unit: fc.constantFrom(...'abcXYZ019-_.=:/ ') });
    await fc.assert(
      fc.asyncProperty(fc.oneof(shaped, garbage), async (token) => {
        assert.equal(await outcomeOf('authorization', `Bearer ${token}`), 'CREDENTIALS_INVALID');
      }),
      { numRuns: 500 },
    );
  });

  it('accepts an exact API key only', async () => {
    assert.equal(await outcomeOf('x-api-key', key.key), 'identified as key detector-7');
    for (const other of [key.key.slice(0, -1), `${key.key}A`, key.key.toUpperCase(), '', 'salad_']) {
      assert.equal(await outcomeOf('x-api-key', other), 'CREDENTIALS_INVALID', other);
    }
  });

  it('refuses a call without credentials with CREDENTIALS_MISSING', async () => {
    assert.equal(await outcomeOf('x-other', '1'), 'CREDENTIALS_MISSING');
  });
});

/** Replaces BigInts, and removes what JSON cannot represent. */
function jsonSafe(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, each) => (typeof each === 'bigint' ? String(each) : each)) ?? 'null',
  );
}
