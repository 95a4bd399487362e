/** What one setting says about another. */
import { INT8_REMOVED } from '../engines/engine.js';
import type { FieldViolation } from '../errors/index.js';
import type { ServeConfig } from './schema.js';

/** Every combination that must not start, with the key that mends it. */
export function checkTogether(config: ServeConfig): FieldViolation[] {
  const problems: FieldViolation[] = [];
  const wrong: Wrong = (field, description) => {
    problems.push({ field, description: `${field}: ${description}` });
  };
  if (config.precision === 'int8') wrong('precision', INT8_REMOVED);
  checkTls(config, wrong);
  checkAuth(config, wrong);
  return problems;
}

type Wrong = (field: keyof ServeConfig, description: string) => void;

function checkTls(config: ServeConfig, wrong: Wrong): void {
  const hasTls = config.tlsCertFile !== '' && config.tlsKeyFile !== '';
  if (config.tlsCertFile !== '' && !hasTls) wrong('tlsKeyFile', 'is missing beside tlsCertFile');
  if (config.tlsKeyFile !== '' && !hasTls) wrong('tlsCertFile', 'is missing beside tlsKeyFile');
  if (config.tlsClientCaFile !== '' && !hasTls) {
    wrong('tlsClientCaFile', 'client certificates need tlsCertFile and tlsKeyFile');
  }
  if (!hasTls && !config.allowPlaintext && !isLoopback(config.listen)) {
    wrong(
      'listen',
      `${config.listen} is reachable from other machines and TLS is off: pixels would travel in plaintext. ` +
        'Set tlsCertFile and tlsKeyFile, or allowPlaintext=true (SALAD_ALLOW_PLAINTEXT) where something else encrypts',
    );
  }
}

function checkAuth(config: ServeConfig, wrong: Wrong): void {
  const hasJwks = config.authJwks !== '';
  for (const field of ['authIssuer', 'authAudience'] as const) {
    if (hasJwks && config[field] === '')
      wrong(field, 'is missing beside authJwks: any token of the keys would do');
    if (!hasJwks && config[field] !== '')
      wrong('authJwks', `is missing beside ${field}: no token would be looked at`);
  }
  if (/^https?:\/\//i.test(config.authJwks)) checkJwksUrl(config.authJwks, wrong);
  if (config.admin && !hasJwks && config.authApiKeysFile === '' && !isLoopback(config.listen)) {
    wrong('admin', 'needs authJwks or authApiKeysFile beyond loopback: anybody could change the server');
  }
}

function checkJwksUrl(text: string, wrong: Wrong): void {
  if (!URL.canParse(text)) {
    wrong('authJwks', 'is not an URL');
    return;
  }
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') {
    wrong('authJwks', 'an URL with a user name or password is not taken');
  }
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) {
    wrong('authJwks', 'keys fetched over http:// can be swapped; use https://');
  }
}

/** @param listen HOST:PORT */
export function isLoopback(listen: string): boolean {
  return isLoopbackHost(listen.slice(0, listen.lastIndexOf(':')));
}

function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}
