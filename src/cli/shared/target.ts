/** How `--target` is reached: TLS and credentials, by flag or by variable. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { SaladClientOptions } from '../../../clients/typescript/src/index.js';
import { isLoopback } from '../../config/check.js';
import { SaladError } from '../../errors/index.js';

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
  what = 'the server; without it one is started here on loopback',
): Command {
  return command
    .option('--target <host:port>', what)
    .option('--tls', "TLS with the system's authorities (SALAD_CLIENT_TLS=true)")
    .option('--ca-file <pem>', 'TLS with these authorities (SALAD_CLIENT_CA_FILE)')
    .option('--cert-file <pem>', 'certificate of the client (SALAD_CLIENT_CERT_FILE)')
    .option('--key-file <pem>', 'its private key (SALAD_CLIENT_KEY_FILE)')
    .option('--token-file <file>', 'bearer token (or SALAD_CLIENT_TOKEN, the token itself)')
    .option('--api-key-file <file>', 'API key (or SALAD_CLIENT_API_KEY, the key itself)');
}

/** @throws SaladError CONFIGURATION_INVALID for files that cannot be read, and for secrets about to travel in plaintext */
export async function targetOptions(
  flags: TargetFlags & { readonly target: string },
  environment: Readonly<Record<string, string | undefined>>,
): Promise<SaladClientOptions> {
  const given = (flag: string | undefined, variable: string) => flag ?? (environment[variable] || undefined);
  const ca = await read('--ca-file', given(flags.caFile, 'SALAD_CLIENT_CA_FILE'));
  const certificate = await read('--cert-file', given(flags.certFile, 'SALAD_CLIENT_CERT_FILE'));
  const privateKey = await read('--key-file', given(flags.keyFile, 'SALAD_CLIENT_KEY_FILE'));
  const token =
    (await read('--token-file', flags.tokenFile))?.trim() ?? given(undefined, 'SALAD_CLIENT_TOKEN');
  const apiKey =
    (await read('--api-key-file', flags.apiKeyFile))?.trim() ?? given(undefined, 'SALAD_CLIENT_API_KEY');
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
    throw new SaladError('CONFIGURATION_INVALID', `${flag} ${file} cannot be read`, { cause: error });
  }
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function defined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}
