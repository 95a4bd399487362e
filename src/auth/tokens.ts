/** Bearer tokens: JSON Web Tokens (RFC 7519) signed with a key of the issuer's set (RFC 7517), checked by `jose`. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import type { ServeConfig } from '../config/schema.js';
import { SaladError } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';
import { type Identity, SCOPES, type Scope } from './identity.js';
import { type Digested, Reloaded } from './reloaded.js';

/** Signatures by a private key: who can check a token must not be able to make one. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
/** Soonest second fetch of the set for a key that is not in it. */
const FETCH_AGAIN_MS = 5000;
/** A set is fetched this many times less often than files are looked at. */
const FETCH_SELDOM = 60;
/** How long the last set serves while its issuer cannot be reached: longer than an outage, shorter than a key's life. */
const KEPT_FOR_MS = 86_400_000;
const FETCH_TIMEOUT_MS = 5000;
/** Far above any issuer's key set. */
const KEY_SET_BYTES_MAX = 1024 * 1024;

interface KeySet extends Digested {
  readonly find: JWTVerifyGetKey;
  readonly count: number;
}

export interface Tokens {
  /** @throws SaladError CREDENTIALS_INVALID, CREDENTIALS_UNVERIFIABLE */
  identify(token: string): Promise<Identity>;
  close(): void;
}

/** @throws SaladError CONFIGURATION_INVALID for a file that is no key set; an URL is first asked for the first token */
export async function openTokens(config: ServeConfig, logger: Logger): Promise<Tokens> {
  const { find, close } = await openKeys(config, logger);
  return {
    close,
    async identify(token) {
      try {
        const { payload } = await jwtVerify(token, find, {
          algorithms: ALGORITHMS,
          issuer: config.authIssuer,
          audience: config.authAudience,
          clockTolerance: config.authClockSkewMs / 1000,
          requiredClaims: ['sub', 'exp'],
        });
        return { name: `subject ${payload.sub}`, scopes: scopesOf(payload) };
      } catch (error) {
        throw refusal(error);
      }
    },
  };
}

interface Keys {
  readonly find: JWTVerifyGetKey;
  close(): void;
}

async function openKeys(config: ServeConfig, logger: Logger): Promise<Keys> {
  if (isUrl(config.authJwks)) {
    return openRemoteKeys(config, logger);
  }
  const file = await Reloaded.open<KeySet>({
    read: () => readKeySet(config.authJwks),
    everyMs: config.securityReloadMs,
    what: 'token keys',
    logger,
  });
  return { find: (header, token) => file.value.find(header, token), close: () => file.close() };
}

/** First fetched for the first token: a server must be able to start while its issuer does not answer. */
function openRemoteKeys({ authJwks, securityReloadMs }: ServeConfig, logger: Logger): Keys {
  const find = createRemoteJWKSet(new URL(authJwks), {
    cooldownDuration: FETCH_AGAIN_MS,
    cacheMaxAge: KEPT_FOR_MS,
    timeoutDuration: FETCH_TIMEOUT_MS,
    [customFetch]: async (url, options) => fetchKeySet(url, options),
  });
  const refresh = () => {
    if (find.jwks() === undefined) return;
    find.reload().catch((err: unknown) => {
      logger.warn({ err }, 'the keys of tokens could not be fetched; the last ones go on');
    });
  };
  const timer = setInterval(refresh, Math.min(FETCH_SELDOM * securityReloadMs, KEPT_FOR_MS)).unref();
  return { find, close: () => clearInterval(timer) };
}

/** For `salad doctor`: fetches an URL at once. @throws SaladError CONFIGURATION_INVALID */
export async function countTokenKeys(authJwks: string): Promise<number> {
  if (!isUrl(authJwks)) return (await readKeySet(authJwks)).count;
  try {
    const signal = AbortSignal.timeout(FETCH_TIMEOUT_MS);
    // As jose does: the address that is checked is the one that answers.
    const response = await fetchKeySet(authJwks, { signal, redirect: 'manual' });
    if (!response.ok) throw new Error(`answered ${response.status}`);
    return parseKeySet(await response.text()).count;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SaladError('CONFIGURATION_INVALID', `authJwks ${authJwks}: ${why}`, { cause: error });
  }
}

/** As `fetch`, with a body of at most KEY_SET_BYTES_MAX. */
async function fetchKeySet(url: string, options: RequestInit): Promise<Response> {
  const response = await fetch(url, options);
  if (!response.ok || response.body === null) return response;
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body) {
    size += part.byteLength;
    if (size > KEY_SET_BYTES_MAX) throw new Error(`the key set is larger than ${KEY_SET_BYTES_MAX} bytes`);
    parts.push(part);
  }
  return new Response(Buffer.concat(parts), { status: response.status });
}

function isUrl(authJwks: string): boolean {
  return /^https?:\/\//i.test(authJwks);
}

function parseKeySet(text: string): { readonly find: JWTVerifyGetKey; readonly count: number } {
  const set: JSONWebKeySet = JSON.parse(text);
  return { find: createLocalJWKSet(set), count: set.keys.length };
}

/** @throws SaladError CONFIGURATION_INVALID */
async function readKeySet(file: string): Promise<KeySet> {
  try {
    const text = await readFile(file, 'utf8');
    return { ...parseKeySet(text), digest: createHash('sha256').update(text).digest('hex') };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SaladError('CONFIGURATION_INVALID', `authJwks ${file}: ${why}`, { cause: error });
  }
}

/** `scope` as RFC 9068 has it, words between spaces; or `scp`, a list or words, as some issuers write it. */
function scopesOf({ scope, scp }: JWTPayload): ReadonlySet<Scope> {
  const written = scope ?? scp;
  const words = Array.isArray(written) ? written : typeof written === 'string' ? written.split(' ') : [];
  return new Set(SCOPES.filter((known) => words.includes(known)));
}

/** Its own words for the client: those of a library may hold parts of the token. */
function refusal(error: unknown): SaladError {
  const cause = error;
  if (error instanceof errors.JWTExpired)
    return new SaladError('CREDENTIALS_INVALID', 'the token has expired', { cause });
  if (error instanceof errors.JWTClaimValidationFailed) {
    const why = `the token's claim ${error.claim} is not as it must be`;
    return new SaladError('CREDENTIALS_INVALID', why, { cause });
  }
  const isTokens =
    error instanceof errors.JWSSignatureVerificationFailed ||
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JWSInvalid ||
    error instanceof errors.JWTInvalid ||
    error instanceof errors.JOSEAlgNotAllowed ||
    error instanceof errors.JOSENotSupported;
  if (isTokens)
    return new SaladError('CREDENTIALS_INVALID', 'the token is not signed by a key of the issuer', { cause });
  return new SaladError('CREDENTIALS_UNVERIFIABLE', 'the keys of tokens could not be fetched', { cause });
}
