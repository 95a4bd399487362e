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
import type { SecurityConfig } from '../config/sections/security.js';
import { SaladError, systemReason } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';
import { withTimeLimit } from '../util/time-limit.js';
import { type Identity, SCOPES, type Scope } from './identity.js';
import { type Digested, ReloadedValue } from './reloaded-value.js';

/** Asymmetric signatures only: a key that checks tokens must not be able to sign them. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
/** Shortest time between two fetches of the key set for keys that are not in it. */
const UNKNOWN_KEY_FETCH_INTERVAL_MS = 5000;
/** A key set is fetched this many times less often than files are read. */
const FETCH_INTERVAL_RATIO = 60;
/**
 * How long the last key set is used while its issuer cannot be reached: longer than an outage, shorter than the
 * validity of a key.
 */
const KEY_SET_MAX_AGE_MS = 86_400_000;
const FETCH_TIMEOUT_MS = 5000;
/** Far above the size of any issuer's key set. */
const KEY_SET_BYTES_MAX = 1024 * 1024;

interface KeySet extends Digested {
  readonly getKey: JWTVerifyGetKey;
  readonly count: number;
}

export interface Tokens {
  /** @throws SaladError CREDENTIALS_INVALID, CREDENTIALS_UNVERIFIABLE */
  identify(token: string): Promise<Identity>;
  close(): void;
}

/** A URL is fetched with the first token. @throws SaladError CONFIGURATION_INVALID for a file that is no key set */
export async function openTokens(config: SecurityConfig, logger: Logger): Promise<Tokens> {
  const { getKey, close } = await openTokenKeys(config, logger);
  return {
    close,
    async identify(token) {
      try {
        const { payload } = await jwtVerify(token, getKey, {
          algorithms: ALGORITHMS,
          issuer: config.authIssuer,
          audience: config.authAudience,
          clockTolerance: config.authClockSkewMs / 1000,
          requiredClaims: ['sub', 'exp'],
        });
        return { name: `subject ${payload.sub}`, scopes: scopesOf(payload) };
      } catch (error) {
        throw toCredentialsError(error);
      }
    },
  };
}

interface TokenKeys {
  readonly getKey: JWTVerifyGetKey;
  close(): void;
}

async function openTokenKeys(config: SecurityConfig, logger: Logger): Promise<TokenKeys> {
  if (isUrl(config.authJwks)) {
    return openRemoteKeys(config, logger);
  }
  const file = await ReloadedValue.open<KeySet>({
    read: () => readKeySet(config.authJwks),
    intervalMs: config.securityReloadMs,
    description: 'token keys',
    logger,
  });
  return { getKey: (header, token) => file.value.getKey(header, token), close: () => file.close() };
}

/** Fetches the keys for the first token, not before: a server must start although its issuer does not answer. */
function openRemoteKeys({ authJwks, securityReloadMs }: SecurityConfig, logger: Logger): TokenKeys {
  const getKey = createRemoteJWKSet(new URL(authJwks), {
    cooldownDuration: UNKNOWN_KEY_FETCH_INTERVAL_MS,
    cacheMaxAge: KEY_SET_MAX_AGE_MS,
    timeoutDuration: FETCH_TIMEOUT_MS,
    [customFetch]: async (url, options) => fetchKeySet(url, options),
  });
  const refresh = () => {
    if (getKey.jwks() === undefined) return;
    getKey.reload().catch((err: unknown) => {
      logger.warn({ err }, 'the token keys could not be fetched; the last fetched ones stay in use');
    });
  };
  const timer = setInterval(
    refresh,
    Math.min(FETCH_INTERVAL_RATIO * securityReloadMs, KEY_SET_MAX_AGE_MS),
  ).unref();
  return { getKey, close: () => clearInterval(timer) };
}

/** For `salad doctor`: fetches a URL at once. @throws SaladError CONFIGURATION_INVALID */
export async function countTokenKeys(authJwks: string): Promise<number> {
  if (!isUrl(authJwks)) return (await readKeySet(authJwks)).count;
  try {
    // No redirects, as in jose: the configuration has checked this URL and no other.
    const response = await fetchKeySet(authJwks, { redirect: 'manual' });
    if (!response.ok) throw new Error(`answered ${response.status}`);
    return parseKeySet(await response.text()).count;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SaladError('CONFIGURATION_INVALID', `authJwks ${authJwks}: ${why}`, { cause: error });
  }
}

/** As `fetch`, with a time limit. @throws Error also where the body is larger than KEY_SET_BYTES_MAX */
function fetchKeySet(url: string, options: RequestInit): Promise<Response> {
  return withTimeLimit(FETCH_TIMEOUT_MS, options.signal ?? undefined, (signal) =>
    fetchBounded(url, { ...options, signal }),
  );
}

async function fetchBounded(url: string, options: RequestInit): Promise<Response> {
  const response = await fetch(url, options);
  if (!response.ok || response.body === null) return response;
  const buffers: Uint8Array[] = [];
  let size = 0;
  for await (const buffer of response.body) {
    size += buffer.byteLength;
    if (size > KEY_SET_BYTES_MAX) throw new Error(`the key set is larger than ${KEY_SET_BYTES_MAX} bytes`);
    buffers.push(buffer);
  }
  return new Response(Buffer.concat(buffers), { status: response.status });
}

function isUrl(authJwks: string): boolean {
  return /^https?:\/\//i.test(authJwks);
}

function parseKeySet(text: string): Omit<KeySet, 'digest'> {
  const set: JSONWebKeySet = JSON.parse(text);
  return { getKey: createLocalJWKSet(set), count: set.keys.length };
}

/** @throws SaladError CONFIGURATION_INVALID */
async function readKeySet(file: string): Promise<KeySet> {
  try {
    const text = await readFile(file, 'utf8');
    return { ...parseKeySet(text), digest: createHash('sha256').update(text).digest('hex') };
  } catch (error) {
    throw new SaladError('CONFIGURATION_INVALID', `authJwks ${file}: ${systemReason(error)}`, {
      cause: error,
    });
  }
}

/** Reads `scope`, words separated by spaces (RFC 9068), or `scp`, a list or such words, which some issuers use. */
function scopesOf({ scope, scp }: JWTPayload): ReadonlySet<Scope> {
  const claim = scope ?? scp;
  const words = Array.isArray(claim) ? claim : typeof claim === 'string' ? claim.split(' ') : [];
  return new Set(SCOPES.filter((name) => words.includes(name)));
}

/** Does not repeat the library's messages to the client: they may contain parts of the token. */
function toCredentialsError(error: unknown): SaladError {
  const cause = error;
  if (error instanceof errors.JWTExpired) {
    return new SaladError('CREDENTIALS_INVALID', 'the token has expired; get a new one', { cause });
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    const message = `the token's claim ${error.claim} is missing or invalid`;
    return new SaladError('CREDENTIALS_INVALID', message, { cause });
  }
  const isInvalidToken =
    error instanceof errors.JWSSignatureVerificationFailed ||
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JWSInvalid ||
    error instanceof errors.JWTInvalid ||
    error instanceof errors.JOSEAlgNotAllowed ||
    error instanceof errors.JOSENotSupported;
  if (isInvalidToken) {
    return new SaladError('CREDENTIALS_INVALID', 'the token is not signed by a key of the issuer', { cause });
  }
  return new SaladError('CREDENTIALS_UNVERIFIABLE', 'the token keys could not be fetched', { cause });
}
