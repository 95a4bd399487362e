/** Identifies the caller by its token or API key, or where neither is set up, by client certificate or address. */
import type { Metadata } from '@grpc/grpc-js';
import type { SecurityConfig } from '../config/sections/security.js';
import { SaladError } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';
import { type ApiKeys, readApiKeys } from './api-keys.js';
import { type Identity, SCOPES } from './identity.js';
import { ReloadedValue } from './reloaded-value.js';
import { openTokens, type Tokens } from './tokens.js';

/** The client's end of a connection. */
export interface PeerConnection {
  /** Common name of the client certificate, else its fingerprint; undefined without a certificate. */
  readonly certificate: string | undefined;
  readonly address: string;
}

export interface Authenticator {
  /** @throws SaladError CREDENTIALS_MISSING, CREDENTIALS_INVALID, CREDENTIALS_UNVERIFIABLE */
  identify(metadata: Metadata, connection: () => PeerConnection): Identity | Promise<Identity>;
  /** For the log: the credentials that are accepted. */
  readonly summary: string;
  /** Stops reloading files. */
  close(): void;
}

/**
 * Where neither tokens nor keys are set up, every caller gets all scopes.
 * @throws SaladError CONFIGURATION_INVALID for invalid key files
 */
export async function openAuthenticator(config: SecurityConfig, logger: Logger): Promise<Authenticator> {
  const keys = config.authApiKeysFile === '' ? undefined : await openApiKeys(config, logger);
  const tokens = config.authJwks === '' ? undefined : await openTokens(config, logger);
  const needsNoCredentials = keys === undefined && tokens === undefined;
  const accepted = [...(tokens ? ['bearer tokens'] : []), ...(keys ? ['API keys'] : [])];
  return {
    summary: needsNoCredentials ? 'none' : accepted.join(', '),
    identify: (metadata, connection) =>
      needsNoCredentials
        ? identityOfConnection(connection())
        : identifyByCredentials(metadata, keys?.value, tokens),
    close() {
      keys?.close();
      tokens?.close();
    },
  };
}

function openApiKeys(config: SecurityConfig, logger: Logger): Promise<ReloadedValue<ApiKeys>> {
  return ReloadedValue.open({
    read: () => readApiKeys(config.authApiKeysFile),
    intervalMs: config.securityReloadMs,
    description: 'API keys',
    logger,
  });
}

const ALL_SCOPES = new Set(SCOPES);

function identityOfConnection({ certificate, address }: PeerConnection): Identity {
  const name = certificate === undefined ? `address ${address}` : `certificate ${certificate}`;
  return { name, scopes: ALL_SCOPES };
}

function identifyByCredentials(
  metadata: Metadata,
  keys: ApiKeys | undefined,
  tokens: Tokens | undefined,
): Identity | Promise<Identity> {
  const [authorization] = metadata.get('authorization');
  const [key] = metadata.get('x-api-key');
  if (tokens !== undefined && authorization !== undefined) {
    const token = /^Bearer +(\S+)$/i.exec(String(authorization))?.[1];
    if (token === undefined) {
      throw new SaladError('CREDENTIALS_INVALID', 'authorization: must be "Bearer" and one token');
    }
    return tokens.identify(token);
  }
  if (keys !== undefined && key !== undefined) {
    const identity = keys.identify(String(key), Date.now());
    if (identity === undefined) {
      throw new SaladError('CREDENTIALS_INVALID', 'x-api-key: is unknown or has expired');
    }
    return identity;
  }
  const accepted = [
    ...(tokens === undefined ? [] : ['authorization: Bearer TOKEN']),
    ...(keys === undefined ? [] : ['x-api-key: KEY']),
  ];
  throw new SaladError('CREDENTIALS_MISSING', `the call needs metadata ${accepted.join(' or ')}`);
}
