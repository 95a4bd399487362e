/** How `--target` is reached: TLS and credentials, by flag or by variable. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { SaladClientOptions } from '../../../clients/typescript/src/index.js';
import { isLoopback } from '../../config/check.js';
import { SaladError } from '../../errors/index.js';
import { systemReason } from './failure.js';

export interface TargetFlags {
  readonly target?: string;
  readonly tls?: boolean;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly tokenFile?: string;
  readonly apiKeyFile?: string;
}

/** Secrets come from files or variables: a command line is read by everybody on the machine. */
export function withTargetFlags(
  command: Command,
  what = 'score on this server; without it one is started for this command and stopped after it',
): Command {
  return command
    .optionsGroup('Connection:')
    .option('--target <host:port>', what)
    .option('--tls', "encrypt, and trust the system's authorities (SALAD_CLIENT_TLS=true)")
    .option('--ca-file <pem>', 'encrypt, and trust these authorities (SALAD_CLIENT_CA_FILE)')
    .option('--cert-file <pem>', 'certificate of the client (SALAD_CLIENT_CERT_FILE)')
    .option('--key-file <pem>', 'private key of that certificate (SALAD_CLIENT_KEY_FILE)')
    .option('--token-file <file>', 'file with a bearer token (or SALAD_CLIENT_TOKEN, the token itself)')
    .option('--api-key-file <file>', 'file with an API key (or SALAD_CLIENT_API_KEY, the key itself)')
    .optionsGroup('Options:');
}

const ONLY_WITH_TARGET = ['tls', 'caFile', 'certFile', 'keyFile', 'tokenFile', 'apiKeyFile'] as const;

/**
 * A server that is started for the command has neither TLS nor credentials.
 * @throws SaladError CONFIGURATION_INVALID for flags that would do nothing
 */
export function refuseUnusedTargetFlags(flags: TargetFlags): void {
  const unused = ONLY_WITH_TARGET.find((key) => flags[key] !== undefined);
  if (unused === undefined) return;
  const flag = unused.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new SaladError('CONFIGURATION_INVALID', `--${flag} needs --target`);
}

/** @throws SaladError CONFIGURATION_INVALID for what is no HOST:PORT */
function checkTarget(target: string): void {
  if (/^https?:/i.test(target)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--target ${target}: write HOST:PORT without http; --tls encrypts`,
    );
  }
  // Names such as dns:///host:port, ipv4:... and unix:... have a colon too; an IPv6 address alone ends with none.
  if (!/:\S+$/.test(target) || /\]$/.test(target)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--target "${target}": write HOST:PORT, such as localhost:50051`,
    );
  }
}

/** @throws SaladError CONFIGURATION_INVALID for files that cannot be read, and for secrets about to travel in plaintext */
export async function targetOptions(
  flags: TargetFlags & { readonly target: string },
  environment: Readonly<Record<string, string | undefined>>,
): Promise<SaladClientOptions> {
  checkTarget(flags.target);
  const given = (flag: string | undefined, variable: string) => flag ?? (environment[variable] || undefined);
  const ca = await read('--ca-file', given(flags.caFile, 'SALAD_CLIENT_CA_FILE'));
  const certificate = await read('--cert-file', given(flags.certFile, 'SALAD_CLIENT_CERT_FILE'));
  const privateKey = await read('--key-file', given(flags.keyFile, 'SALAD_CLIENT_KEY_FILE'));
  const token = await secret('--token-file', flags.tokenFile, environment, 'SALAD_CLIENT_TOKEN');
  const apiKey = await secret('--api-key-file', flags.apiKeyFile, environment, 'SALAD_CLIENT_API_KEY');
  if ((certificate === undefined) !== (privateKey === undefined)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      'a client certificate needs both --cert-file and --key-file',
    );
  }
  const wantsTls = flags.tls === true || environment['SALAD_CLIENT_TLS'] === 'true';
  const hasTls = wantsTls || ca !== undefined || certificate !== undefined;
  if (!hasTls && (token ?? apiKey) !== undefined && !isLoopback(flags.target)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--target ${flags.target}: the token or key would travel in plaintext; use --tls or --ca-file`,
    );
  }
  return {
    ...(hasTls ? { tls: defined({ ca, certificate, privateKey }) } : {}),
    ...defined({ token, apiKey }),
  };
}

async function read(flag: string, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const message = `${flag} ${file} cannot be read: ${systemReason(error)}`;
    throw new SaladError('CONFIGURATION_INVALID', message, { cause: error });
  }
}

/** What a header of HTTP can carry; the message must not hold the secret itself. */
async function secret(
  flag: string,
  file: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
  variable: string,
): Promise<string | undefined> {
  const text = (await read(flag, file))?.trim() ?? (environment[variable] || undefined);
  if (text === undefined || /^[\x21-\x7e]+$/.test(text)) return text;
  const where = file === undefined ? variable : `${flag} ${file}`;
  throw new SaladError('CONFIGURATION_INVALID', `${where} does not hold one line of printable characters`);
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function defined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}
