/** What one setting says about another. */
import type { FieldViolation } from '../errors/index.js';
import type { ServeConfig } from './schema.js';

/** Every combination that must not start, with the key that mends it. */
export function checkTogether(config: ServeConfig): FieldViolation[] {
  const problems: FieldViolation[] = [];
  const wrong = (field: keyof ServeConfig, description: string) => {
    problems.push({ field, description: `${field}: ${description}` });
  };
  const hasTls = config.tlsCertFile !== '' && config.tlsKeyFile !== '';
  if (config.tlsCertFile !== '' && config.tlsKeyFile === '')
    wrong('tlsKeyFile', 'is missing beside tlsCertFile');
  if (config.tlsKeyFile !== '' && config.tlsCertFile === '')
    wrong('tlsCertFile', 'is missing beside tlsKeyFile');
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
  return problems;
}

/** @param listen HOST:PORT */
export function isLoopback(listen: string): boolean {
  const host = listen.slice(0, listen.lastIndexOf(':'));
  return host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}
