/** Connection flags: the server of `--target`, TLS and credentials, given by flags or environment variables. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { SaladClientOptions } from '../../../clients/typescript/src/index.js';
import { type PemKind, pemProblem } from '../../auth/pem.js';
import { isLoopback } from '../../config/loopback.js';
import { SaladError, systemReason } from '../../errors/index.js';

export interface TargetFlags {
  readonly target?: string;
  readonly tls?: boolean;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly tokenFile?: string;
  readonly apiKeyFile?: string;
}

/** Secrets come from files or variables, because every user of the machine can read a command line. */
export function withTargetFlags(
  command: Command,
  targetDescription = 'use this server; without it a server is started for this command',
): Command {
  return command
    .optionsGroup('Connection:')
    .option('--target <host:port>', targetDescription)
    .option('--tls', 'use TLS and trust the authorities of the system (SALAD_CLIENT_TLS=true)')
    .option('--ca-file <pem>', 'use TLS and trust these authorities (SALAD_CLIENT_CA_FILE)')
    .option('--cert-file <pem>', 'client certificate (SALAD_CLIENT_CERT_FILE)')
    .option('--key-file <pem>', 'private key of the client certificate (SALAD_CLIENT_KEY_FILE)')
    .option('--token-file <file>', 'file with a bearer token (or SALAD_CLIENT_TOKEN: the token itself)')
    .option('--api-key-file <file>', 'file with an API key (or SALAD_CLIENT_API_KEY: the key itself)')
    .optionsGroup('Options:');
}

const ONLY_WITH_TARGET = ['tls', 'caFile', 'certFile', 'keyFile', 'tokenFile', 'apiKeyFile'] as const;

/**
 * Refuses flags that would have no effect: an embedded server uses neither TLS nor credentials.
 * @throws SaladError CONFIGURATION_INVALID
 */
export function refuseUnusedTargetFlags(flags: TargetFlags): void {
  const unused = ONLY_WITH_TARGET.find((key) => flags[key] !== undefined);
  if (unused === undefined) return;
  const flag = unused.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new SaladError('CONFIGURATION_INVALID', `--${flag} needs --target`);
}

/** @throws SaladError CONFIGURATION_INVALID if the text is not HOST:PORT */
function checkTarget(target: string): void {
  if (/^https?:/i.test(target)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--target ${target}: write HOST:PORT without http; add --tls for an encrypted connection`,
    );
  }
  // Also accepts dns:///host:port, ipv4:... and unix:...; refuses an IPv6 address in brackets without a port.
  const port = /:(\d+)$/.exec(target)?.[1];
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)) {
    throw new SaladError('CONFIGURATION_INVALID', `--target ${target}: the port must be 1 to 65535`);
  }
  if (!/:\S+$/.test(target) || /\]$/.test(target)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--target "${target}": write HOST:PORT, such as localhost:50051`,
    );
  }
}

/**
 * Reads the files of the connection flags.
 * @throws SaladError CONFIGURATION_INVALID for an unreadable file, and for a secret that would be sent unencrypted
 */
export async function targetOptions(
  flags: TargetFlags & { readonly target: string },
  environment: Readonly<Record<string, string | undefined>>,
): Promise<SaladClientOptions> {
  checkTarget(flags.target);
  const pathOf = (flag: string | undefined, variable: string) => flag ?? (environment[variable] || undefined);
  const ca = await readPem('certificate', '--ca-file', pathOf(flags.caFile, 'SALAD_CLIENT_CA_FILE'));
  const certificate = await readPem(
    'certificate',
    '--cert-file',
    pathOf(flags.certFile, 'SALAD_CLIENT_CERT_FILE'),
  );
  const privateKey = await readPem(
    'private key',
    '--key-file',
    pathOf(flags.keyFile, 'SALAD_CLIENT_KEY_FILE'),
  );
  const token = await readSecret('--token-file', flags.tokenFile, environment, 'SALAD_CLIENT_TOKEN');
  const apiKey = await readSecret('--api-key-file', flags.apiKeyFile, environment, 'SALAD_CLIENT_API_KEY');
  if ((certificate === undefined) !== (privateKey === undefined)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      'a client certificate needs both --cert-file and --key-file',
    );
  }
  const isTlsRequested = flags.tls === true || environment['SALAD_CLIENT_TLS'] === 'true';
  const usesTls = isTlsRequested || ca !== undefined || certificate !== undefined;
  if (!usesTls && (token ?? apiKey) !== undefined && !isLoopback(flags.target)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--target ${flags.target}: the token or key would be sent in plaintext; add --tls or --ca-file`,
    );
  }
  return {
    ...(usesTls ? { tls: withoutUndefined({ ca, certificate, privateKey }) } : {}),
    ...withoutUndefined({ token, apiKey }),
  };
}

async function readText(flag: string, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const message = `${flag} ${file} cannot be read: ${systemReason(error)}`;
    throw new SaladError('CONFIGURATION_INVALID', message, { cause: error });
  }
}

/** @throws SaladError CONFIGURATION_INVALID for a file that cannot be read or holds no such PEM block */
async function readPem(wanted: PemKind, flag: string, file: string | undefined): Promise<string | undefined> {
  const text = await readText(flag, file);
  const problem = text === undefined ? undefined : pemProblem(text, wanted);
  if (problem === undefined) return text;
  throw new SaladError('CONFIGURATION_INVALID', `${flag} ${file} ${problem}`);
}

/**
 * Reads a secret that an HTTP header can carry.
 * @throws SaladError CONFIGURATION_INVALID; its message does not contain the secret
 */
async function readSecret(
  flag: string,
  file: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
  variable: string,
): Promise<string | undefined> {
  const text = (await readText(flag, file))?.trim() ?? (environment[variable] || undefined);
  if (text === undefined || /^[\x21-\x7e]+$/.test(text)) return text;
  const source = file === undefined ? variable : `${flag} ${file}`;
  throw new SaladError(
    'CONFIGURATION_INVALID',
    `${source} must hold one line of printable ASCII characters without spaces`,
  );
}

type WithoutUndefined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function withoutUndefined<T extends object>(values: T): WithoutUndefined<T> {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as WithoutUndefined<T>;
}
