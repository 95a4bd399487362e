/** What besides engines and bundles could keep a server from starting, or soon from serving. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { totalmem } from 'node:os';
import { Worker } from 'node:worker_threads';
import { readApiKeys } from '../../auth/api-keys.js';
import { readTlsMaterial } from '../../auth/tls.js';
import { countTokenKeys } from '../../auth/tokens.js';
import type { ServeConfig } from '../../config/schema.js';
import { SaladError } from '../../errors/index.js';

/** One line of the screen. */
export interface Check {
  readonly name: 'port' | 'tls' | 'tokens' | 'apiKeys' | 'admin' | 'sharedMemory' | 'memory';
  /** `off`: not set up, and nothing is wrong with that. */
  readonly state: 'ok' | 'off' | 'warning' | 'problem';
  readonly detail: string;
}

/** Certificates should be renewed by now. */
const RENEW_DAYS = 21;
const DAY_MS = 86_400_000;

/** Whether the port can be had, and what those who come to it are asked for. */
export async function portChecks(config: ServeConfig): Promise<readonly Check[]> {
  return Promise.all([port(config.listen), tls(config), tokens(config), apiKeys(config), admin(config)]);
}

/** A port in use may be in use by the very server that is asked about. */
async function port(listen: string): Promise<Check> {
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon).replace(/^\[|\]$/g, '');
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(Number(listen.slice(colon + 1)), host, resolve);
    });
    return { name: 'port', state: 'ok', detail: `${listen} is free` };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const isTaken = code === 'EADDRINUSE';
    return {
      name: 'port',
      state: isTaken ? 'warning' : 'problem',
      detail: isTaken ? `${listen} is in use already, perhaps by a salad-serve that runs` : message,
    };
  } finally {
    server.close();
  }
}

async function tls(config: ServeConfig): Promise<Check> {
  if (config.tlsCertFile === '')
    return { name: 'tls', state: 'off', detail: `plaintext on ${config.listen}` };
  return checked('tls', async () => {
    const { leaf } = await readTlsMaterial(config);
    const days = daysLeft(leaf);
    const clients =
      config.tlsClientCaFile === '' ? 'no client certificates asked for' : await clientAuthority(config);
    const detail = `${oneLine(leaf.subject)} (${leaf.subjectAltName ?? 'no names'}), the key is its own, ${days} days left; ${clients}`;
    return { state: days < RENEW_DAYS ? 'warning' : 'ok', detail };
  });
}

async function clientAuthority(config: ServeConfig): Promise<string> {
  const authority = new X509Certificate(await readFile(config.tlsClientCaFile));
  return `client certificates of ${oneLine(authority.subject)}, ${daysLeft(authority)} days left`;
}

function daysLeft(certificate: X509Certificate): number {
  return Math.floor((Date.parse(certificate.validTo) - Date.now()) / DAY_MS);
}

function oneLine(subject: string): string {
  return subject.replaceAll('\n', ', ');
}

async function tokens(config: ServeConfig): Promise<Check> {
  if (config.authJwks === '') return { name: 'tokens', state: 'off', detail: 'no bearer tokens are taken' };
  return checked('tokens', async () => {
    const count = await countTokenKeys(config.authJwks);
    const detail = `${keys(count)} in ${config.authJwks}, issuer ${config.authIssuer}, audience ${config.authAudience}`;
    return { state: count === 0 ? 'problem' : 'ok', detail };
  });
}

async function apiKeys(config: ServeConfig): Promise<Check> {
  if (config.authApiKeysFile === '')
    return { name: 'apiKeys', state: 'off', detail: 'no API keys are taken' };
  return checked('apiKeys', async () => {
    const { count, expired } = await readApiKeys(config.authApiKeysFile);
    const over = expired(Date.now());
    const detail = `${keys(count)} in ${config.authApiKeysFile}${over.length === 0 ? '' : `, expired: ${over.join(', ')}`}`;
    return { state: over.length > 0 ? 'warning' : 'ok', detail };
  });
}

function keys(count: number): string {
  return count === 1 ? '1 key' : `${count} keys`;
}

function admin(config: ServeConfig): Check {
  return config.admin
    ? { name: 'admin', state: 'ok', detail: 'calls that change the server are offered' }
    : { name: 'admin', state: 'off', detail: 'calls that change the server are refused' };
}

/** Pixels reach the engines in memory shared between threads; and all that is admitted must fit into the machine. */
export async function memoryChecks(config: ServeConfig): Promise<readonly Check[]> {
  const limit = process.constrainedMemory() || totalmem();
  const available = Math.min(limit, totalmem());
  const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
  const detail = `open acquisitions may take ${mib(config.maxAcquisitionBytes)} of ${mib(available)}`;
  return [
    await checked('sharedMemory', shareBetweenThreads),
    { name: 'memory', state: config.maxAcquisitionBytes > available ? 'problem' : 'ok', detail },
  ];
}

const SHARED_BYTES = 64 * 2 ** 20;
/** Writes to the last byte, which a limit on memory would not let it have. */
const WRITER =
  "const { parentPort, workerData } = require('node:worker_threads');" +
  'const bytes = new Uint8Array(workerData); bytes[bytes.length - 1] = 42; parentPort.postMessage(bytes.length);';

async function shareBetweenThreads(): Promise<Omit<Check, 'name'>> {
  const shared = new SharedArrayBuffer(SHARED_BYTES);
  const worker = new Worker(WRITER, { eval: true, workerData: shared });
  try {
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  } finally {
    await worker.terminate();
  }
  const arrived = new Uint8Array(shared).at(-1) === 42;
  return {
    state: arrived ? 'ok' : 'problem',
    detail: arrived ? '64 MiB are shared between threads' : 'what a thread writes does not arrive in another',
  };
}

async function checked(name: Check['name'], check: () => Promise<Omit<Check, 'name'>>): Promise<Check> {
  try {
    return { name, ...(await check()) };
  } catch (error) {
    return { name, state: 'problem', detail: SaladError.from(error).message };
  }
}
