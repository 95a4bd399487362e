/** A client for a verb: of the server named by --target, else of one started here on loopback. */

import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { SaladClient, type SaladClientOptions } from '../../../clients/typescript/src/index.js';
import { BUNDLE_FILES } from '../../bundle/bundle.js';
import { loadConfig } from '../../config/load.js';
import { SaladError } from '../../errors/index.js';
import { type RunningServer, startServer } from '../../server/server.js';
import type { Logger } from '../../telemetry/logger.js';
import { shippedModels } from '../../util/package-root.js';
import { type BundleFolder, openBundleFolder } from './bundle-folder.js';
import { stopIfInterrupted } from './interrupt.js';
import { note } from './output.js';
import { explainCall } from './server-call.js';
import { refuseUnusedTargetFlags, type TargetFlags, targetOptions } from './target.js';

export interface SessionOptions extends TargetFlags {
  /** NAME, NAME@VERSION or a bundle folder; may be left out where one model is loaded. */
  readonly model?: string;
  readonly models?: string;
  readonly engine?: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

export interface ModelChoice {
  readonly name: string;
  readonly version?: number;
}

export interface Session {
  readonly client: SaladClient;
  /** The model that was asked for; it is loaded. */
  readonly model: ModelChoice;
  /** Another client of the same server, for its caller to close. */
  connect(): SaladClient;
  /** A failed call as an error whose message tells what to try; other errors as they are. */
  explain(error: unknown): unknown;
  close(): Promise<void>;
}

/** A server for one command: the variables of the machine's real server are not meant for it. */
const OPEN_ON_LOOPBACK = {
  ...{ tlsCertFile: '', tlsKeyFile: '', tlsClientCaFile: '' },
  ...{ authJwks: '', authIssuer: '', authAudience: '', authApiKeysFile: '' },
} as const;

/** How long a server may take to list its models, in ms. */
const LIST_TIMEOUT_MS = 10_000;

/**
 * Both ways lead through a gRPC port: an embedded server is a server.
 * @throws SaladError CONFIGURATION_INVALID, MODEL_NOT_FOUND, BUNDLE_INVALID, ENGINE_UNAVAILABLE, CANCELLED;
 *   ServerCallError where the server of --target cannot be asked
 */
export async function openSession(options: SessionOptions): Promise<Session> {
  const { model } = options;
  const isFolder = model !== undefined && model !== '' && existsSync(join(model, BUNDLE_FILES.manifest));
  const folder = isFolder ? await openBundleFolder(model) : undefined;
  const { target } = options;
  return target === undefined ? openEmbedded(options, folder) : openTarget({ ...options, target }, folder);
}

async function openTarget(
  options: SessionOptions & { readonly target: string },
  folder: BundleFolder | undefined,
): Promise<Session> {
  const { target } = options;
  const clientOptions = await targetOptions(options, options.environment);
  const explain = (error: unknown) => explainCall(error, { target, tls: clientOptions.tls !== undefined });
  const connect = () => connected(target, clientOptions);
  const client = connect();
  try {
    const listed = await client.listModels({ timeoutMs: LIST_TIMEOUT_MS, signal: options.signal });
    const loaded = listed.map(({ identity }) => `${identity?.name}@${identity?.version}`);
    const model = folder ?? chooseModel(options.model, loaded);
    const served = listed.find(
      ({ identity }) => identity?.name === folder?.name && identity?.version === folder?.version,
    );
    if (folder && served?.identity?.bundleSha256 !== folder.sha256) {
      throw new SaladError(
        'MODEL_NOT_FOUND',
        `${target} does not serve the bundle of --model ${options.model} (${folder.name}@${folder.version}, ` +
          `SHA-256 ${folder.sha256}); loaded: ${loaded.join(', ')}`,
      );
    }
    return { client, model, connect, explain, close: async () => client.close() };
  } catch (error) {
    client.close();
    throw explain(error);
  }
}

async function openEmbedded(options: SessionOptions, folder: BundleFolder | undefined): Promise<Session> {
  refuseUnusedTargetFlags(options);
  const ownModels = await folder?.asModelsFolder();
  let server: RunningServer | undefined;
  const stop = async () => {
    await server?.stop(0);
    if (ownModels !== undefined) await rm(ownModels, { recursive: true, force: true });
  };
  try {
    server = await startEmbedded(options, ownModels);
    const { address, models } = server;
    const model = folder ?? chooseModel(options.model, models);
    stopIfInterrupted(options.signal);
    const connect = () => new SaladClient(address);
    const client = connect();
    return {
      client,
      model,
      connect,
      explain: (error) => explainCall(error, { target: undefined, tls: false }),
      async close() {
        client.close();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startEmbedded(options: SessionOptions, ownModels: string | undefined): Promise<RunningServer> {
  const models = ownModels ?? options.models;
  const config = await loadConfig({
    environment: options.environment,
    defaults: { models: shippedModels(), logLevel: 'warn' },
    flags: {
      listen: '127.0.0.1:0',
      ...OPEN_ON_LOOPBACK,
      ...(models === undefined ? {} : { models }),
      ...(options.engine === undefined ? {} : { engine: options.engine }),
    },
  });
  return startServer(config, { logger: noteLogger(config.logLevel) });
}

/** The embedded server's log as notes: JSON lines are for programs that collect logs. */
function noteLogger(level: string): Logger {
  return pino({ level, base: null, timestamp: false }, { write: (line) => note(logNote(line)) });
}

function logNote(line: string): string {
  const { level, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const name = pino.levels.labels[Number(level)] ?? 'log';
  const facts = Object.entries(fields).map(([key, value]) => `${key} ${factText(value)}`);
  return `salad: server ${name}: ${String(msg)}${facts.length === 0 ? '' : ` (${facts.join(', ')})`}`;
}

/** Of an error its message; the stack is for logs. */
function factText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'object' && value !== null && 'message' in value) return String(value.message);
  return JSON.stringify(value);
}

/** @throws SaladError CONFIGURATION_INVALID for certificates and keys that are none */
function connected(target: string, options: SaladClientOptions): SaladClient {
  try {
    return new SaladClient(target, options);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SaladError('CONFIGURATION_INVALID', `--target ${target}: ${why}`, { cause: error });
  }
}

/**
 * `NAME[@VERSION]` among the loaded models; without one, the only loaded one.
 * @throws SaladError CONFIGURATION_INVALID, MODEL_NOT_FOUND
 */
export function chooseModel(wanted: string | undefined, loaded: readonly string[]): ModelChoice {
  const names = [...new Set(loaded.map((model) => model.split('@')[0] ?? ''))];
  if (wanted === undefined) {
    if (names.length === 1 && names[0]) return { name: names[0] };
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `several models are loaded: choose one with --model (${loaded.join(', ')})`,
    );
  }
  const [, name = '', version] = /^([^@]*)(?:@([1-9]\d*))?$/.exec(wanted) ?? [];
  if (name === '') {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--model ${wanted}: write NAME, NAME@VERSION (a whole number) or a bundle folder`,
    );
  }
  if (version === undefined ? names.includes(name) : loaded.includes(`${name}@${version}`)) {
    return { name, ...(version === undefined ? {} : { version: Number(version) }) };
  }
  throw new SaladError(
    'MODEL_NOT_FOUND',
    `model ${wanted} is not loaded, and no bundle folder of that name; loaded: ${loaded.join(', ')}`,
  );
}
