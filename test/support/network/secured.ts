/** Settings of a server that knows its callers, and the credentials that it takes. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { stringify } from 'yaml';
import { makeApiKey } from '../../../src/auth/api-keys.js';
import { makeAuthority } from './certificates.js';

const [ISSUER, AUDIENCE] = ['https://issuer.example', 'salad'];

export interface Credentials {
  /** PEM: the authority of the server's certificate, and a client's own certificate of the same. */
  ca?: string;
  certificate?: string;
  privateKey?: string;
  /** With the scope `score`. */
  apiKey?: string;
  token?: string;
  expiredToken?: string;
  /** Of somebody who may do nothing. */
  scopelessToken?: string;
}

export interface Secured {
  readonly flags: Readonly<Record<string, unknown>>;
  readonly credentials: Credentials;
}

/** @param folder for files, made here */
export async function secure(
  folder: string,
  { tls, apiKeys, tokens }: { readonly tls: boolean; readonly apiKeys: boolean; readonly tokens: boolean },
): Promise<Secured> {
  await mkdir(folder, { recursive: true });
  const parts = [
    ...(tls ? [await secureByTls(folder)] : []),
    ...(apiKeys ? [await secureByKeys(folder)] : []),
    ...(tokens ? [await secureByTokens(folder)] : []),
  ];
  return {
    flags: Object.assign({}, ...parts.map(({ flags }) => flags)) as Secured['flags'],
    credentials: Object.assign({}, ...parts.map(({ credentials }) => credentials)) as Credentials,
  };
}

async function secureByTls(folder: string): Promise<Secured> {
  const authority = await makeAuthority();
  const own = await authority.issue({ commonName: 'salad' });
  const [tlsCertFile, tlsKeyFile] = [join(folder, 'own.pem'), join(folder, 'own.key')];
  await writeFile(tlsCertFile, own.certificate);
  await writeFile(tlsKeyFile, own.privateKey);
  const client = await authority.issue({ commonName: 'detector' });
  return { flags: { tlsCertFile, tlsKeyFile }, credentials: { ca: authority.certificate, ...client } };
}

async function secureByKeys(folder: string): Promise<Secured> {
  const { key, entry } = makeApiKey({ name: 'detector', scopes: ['score'] });
  const authApiKeysFile = join(folder, 'keys.yaml');
  await writeFile(authApiKeysFile, stringify({ keys: [entry] }));
  return { flags: { authApiKeysFile }, credentials: { apiKey: key } };
}

async function secureByTokens(folder: string): Promise<Secured> {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const authJwks = join(folder, 'jwks.json');
  const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' };
  await writeFile(authJwks, JSON.stringify({ keys: [jwk] }));
  const sign = (expiresInSeconds: number, scope: string) =>
    new SignJWT({ iss: ISSUER, aud: AUDIENCE, sub: 'detector-7', scope })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setExpirationTime(Math.floor(Date.now() / 1000) + expiresInSeconds)
      .sign(privateKey);
  const [token, expiredToken, scopelessToken] = [
    await sign(3600, 'score'),
    await sign(-3600, 'score'),
    await sign(3600, 'openid'),
  ];
  return {
    flags: { authJwks, authIssuer: ISSUER, authAudience: AUDIENCE },
    credentials: { token, expiredToken, scopelessToken },
  };
}
