/** Cross-field validation: combinations of settings that are invalid although each setting is valid, and int8. */

import { INT8_REMOVED } from '../engines/engine.js';
import type { FieldViolation } from '../errors/index.js';
import { isLoopback, isLoopbackHost } from './loopback.js';
import type { ConfigKey } from './schema.js';
import type { EngineConfig } from './sections/engine.js';
import type { PortConfig } from './sections/port.js';
import type { SecurityConfig } from './sections/security.js';

type SecuredPortConfig = SecurityConfig & Pick<PortConfig, 'listen'>;
type CheckedConfig = SecuredPortConfig & Pick<EngineConfig, 'precision'>;
type AddViolation = (field: ConfigKey, description: string) => void;

/** Returns every invalid combination, under the key of the setting to change. */
export function crossFieldViolations(config: CheckedConfig): FieldViolation[] {
  const violations: FieldViolation[] = [];
  const add: AddViolation = (field, description) => {
    violations.push({ field, description: `${field}: ${description}` });
  };
  if (config.precision === 'int8') add('precision', INT8_REMOVED);
  checkTls(config, add);
  checkAuth(config, add);
  return violations;
}

function checkTls(config: SecuredPortConfig, add: AddViolation): void {
  const hasTls = config.tlsCertFile !== '' && config.tlsKeyFile !== '';
  if (config.tlsCertFile !== '' && !hasTls) add('tlsKeyFile', 'is missing; tlsCertFile needs it');
  if (config.tlsKeyFile !== '' && !hasTls) add('tlsCertFile', 'is missing; tlsKeyFile needs it');
  if (config.tlsClientCaFile !== '' && !hasTls) {
    add('tlsClientCaFile', 'client certificates need TLS: set tlsCertFile and tlsKeyFile');
  }
  if (!hasTls && !config.allowPlaintext && !isLoopback(config.listen)) {
    add(
      'listen',
      `${config.listen} is reachable from other machines and TLS is off: pixels would be sent in plaintext. ` +
        'Set tlsCertFile and tlsKeyFile, or set allowPlaintext=true (SALAD_ALLOW_PLAINTEXT) if a proxy or a mesh encrypts',
    );
  }
}

function checkAuth(config: SecuredPortConfig, add: AddViolation): void {
  const hasJwks = config.authJwks !== '';
  for (const field of ['authIssuer', 'authAudience'] as const) {
    if (hasJwks && config[field] === '')
      add(field, 'is missing; without it authJwks would accept every token that its keys signed');
    if (!hasJwks && config[field] !== '')
      add('authJwks', `is missing; without it ${field} has no effect and no token is checked`);
  }
  if (/^https?:\/\//i.test(config.authJwks)) checkJwksUrl(config.authJwks, add);
  if (config.admin && !hasJwks && config.authApiKeysFile === '' && !isLoopback(config.listen)) {
    add(
      'admin',
      'needs authJwks or authApiKeysFile beyond loopback: otherwise anyone could change the server',
    );
  }
}

function checkJwksUrl(text: string, add: AddViolation): void {
  if (!URL.canParse(text)) {
    add('authJwks', 'is not a valid URL');
    return;
  }
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') {
    add('authJwks', 'a URL with a user name or a password is not accepted');
  }
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) {
    add('authJwks', 'an attacker can replace keys that are fetched over http://; use https://');
  }
}
