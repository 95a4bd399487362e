/** Checks of `salad doctor` other than engines and bundles: port, TLS, credentials, memory. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { availableParallelism, totalmem } from 'node:os';
import { Worker } from 'node:worker_threads';
import { readApiKeys } from '../../../auth/api-keys.js';
import { readTlsMaterial } from '../../../auth/tls.js';
import { countTokenKeys } from '../../../auth/tokens.js';
import type { AdmissionConfig } from '../../../config/sections/admission.js';
import type { EngineConfig } from '../../../config/sections/engine.js';
import type { PortConfig } from '../../../config/sections/port.js';
import type { SecurityConfig } from '../../../config/sections/security.js';
import { SaladError } from '../../../errors/index.js';
import { listenReason } from '../../../server/listen.js';
import { processCount } from '../../../server/processes/division.js';

/** Result of one check. */
export interface Check {
  readonly name: 'port' | 'processes' | 'tls' | 'tokens' | 'apiKeys' | 'admin' | 'sharedMemory' | 'memory';
  /** `off`: not configured, which is not a problem. */
  readonly state: 'ok' | 'off' | 'warning' | 'problem';
  readonly detail: string;
}

/** What the port and the number of processes behind it depend on. */
type ProcessesConfig = PortConfig & Pick<EngineConfig, 'workers'>;

/** A certificate that expires in fewer days is a warning. */
const RENEWAL_WARNING_DAYS = 21;
const DAY_MS = 86_400_000;

/** Checks the port, the processes behind it, TLS, bearer tokens, API keys and the admin service. */
export async function portChecks(config: ProcessesConfig & SecurityConfig): Promise<readonly Check[]> {
  return Promise.all([
    checkPort(config.listen),
    checkProcesses(config),
    checkTls(config),
    checkTokens(config),
    checkApiKeys(config),
    checkAdmin(config),
  ]);
}

/** A port that is already in use is only a warning: the server that the user asks about may be using it. */
async function checkPort(listen: string): Promise<Check> {
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon).replace(/^\[|\]$/g, '');
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(Number(listen.slice(colon + 1)), host, resolve);
    });
    return { name: 'port', state: 'ok', detail: `${listen} is free` };
  } catch (error) {
    const isInUse = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
    return {
      name: 'port',
      state: isInUse ? 'warning' : 'problem',
      detail: isInUse
        ? `${listen} is already in use, perhaps by a running salad-serve`
        : `${listen}: ${listenReason(error)}`,
    };
  } finally {
    server.close();
  }
}

/** More processes than cores only share the processor. */
function checkProcesses(config: ProcessesConfig): Check {
  const count = processCount(config);
  const cores = availableParallelism();
  const detail = `${count} server process${count === 1 ? '' : 'es'} on ${cores} core${cores === 1 ? '' : 's'}`;
  return { name: 'processes', state: count > cores ? 'warning' : 'ok', detail };
}

async function checkTls(config: PortConfig & SecurityConfig): Promise<Check> {
  if (config.tlsCertFile === '')
    return { name: 'tls', state: 'off', detail: `plaintext on ${config.listen}` };
  return runCheck('tls', async () => {
    const { leaf } = await readTlsMaterial(config);
    const days = daysLeft(leaf);
    const clients =
      config.tlsClientCaFile === ''
        ? 'no client certificates required'
        : await describeClientAuthority(config);
    const detail = `${oneLine(leaf.subject)} (${leaf.subjectAltName ?? 'no names'}), the key matches, ${days} days left; ${clients}`;
    return { state: days < RENEWAL_WARNING_DAYS ? 'warning' : 'ok', detail };
  });
}

async function describeClientAuthority(config: SecurityConfig): Promise<string> {
  const authority = new X509Certificate(await readFile(config.tlsClientCaFile));
  return `client certificates of ${oneLine(authority.subject)}, ${daysLeft(authority)} days left`;
}

function daysLeft(certificate: X509Certificate): number {
  return Math.floor((Date.parse(certificate.validTo) - Date.now()) / DAY_MS);
}

function oneLine(subject: string): string {
  return subject.replaceAll('\n', ', ');
}

async function checkTokens(config: SecurityConfig): Promise<Check> {
  if (config.authJwks === '')
    return { name: 'tokens', state: 'off', detail: 'bearer tokens are not accepted' };
  return runCheck('tokens', async () => {
    const count = await countTokenKeys(config.authJwks);
    const detail = `${keyCount(count)} in ${config.authJwks}, issuer ${config.authIssuer}, audience ${config.authAudience}`;
    return { state: count === 0 ? 'problem' : 'ok', detail };
  });
}

async function checkApiKeys(config: SecurityConfig): Promise<Check> {
  if (config.authApiKeysFile === '')
    return { name: 'apiKeys', state: 'off', detail: 'API keys are not accepted' };
  return runCheck('apiKeys', async () => {
    const { count, expired } = await readApiKeys(config.authApiKeysFile);
    const names = expired(Date.now());
    const detail = `${keyCount(count)} in ${config.authApiKeysFile}${names.length === 0 ? '' : `, expired: ${names.join(', ')}`}`;
    return { state: names.length > 0 ? 'warning' : 'ok', detail };
  });
}

function keyCount(count: number): string {
  return count === 1 ? '1 key' : `${count} keys`;
}

function checkAdmin(config: SecurityConfig): Check {
  return config.admin
    ? { name: 'admin', state: 'ok', detail: 'the admin service is offered' }
    : { name: 'admin', state: 'off', detail: 'the admin service is not offered' };
}

/** Checks that threads can share memory, which carries pixels to the engines, and that open acquisitions fit into memory. */
export async function memoryChecks(config: AdmissionConfig): Promise<readonly Check[]> {
  const limit = process.constrainedMemory() || totalmem();
  const available = Math.min(limit, totalmem());
  const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
  const detail = `open acquisitions may take ${mib(config.maxAcquisitionBytes)} of ${mib(available)}`;
  return [
    await runCheck('sharedMemory', checkSharedMemory),
    { name: 'memory', state: config.maxAcquisitionBytes > available ? 'problem' : 'ok', detail },
  ];
}

const SHARED_BYTES = 64 * 2 ** 20;
/** Source of a worker that writes to the last byte, which fails where a memory limit prevents the allocation. */
const WORKER_SOURCE =
  "const { parentPort, workerData } = require('node:worker_threads');" +
  'const bytes = new Uint8Array(workerData); bytes[bytes.length - 1] = 42; parentPort.postMessage(bytes.length);';

async function checkSharedMemory(): Promise<Omit<Check, 'name'>> {
  const shared = new SharedArrayBuffer(SHARED_BYTES);
  const worker = new Worker(WORKER_SOURCE, { eval: true, workerData: shared });
  try {
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  } finally {
    await worker.terminate();
  }
  const isShared = new Uint8Array(shared).at(-1) === 42;
  return {
    state: isShared ? 'ok' : 'problem',
    detail: isShared
      ? '64 MiB are shared between threads'
      : 'a thread does not see what another thread writes',
  };
}

/** Runs a check; an error becomes a problem. */
async function runCheck(name: Check['name'], check: () => Promise<Omit<Check, 'name'>>): Promise<Check> {
  try {
    return { name, ...(await check()) };
  } catch (error) {
    return { name, state: 'problem', detail: SaladError.from(error).message };
  }
}
