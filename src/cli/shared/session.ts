/** Opens a client for a command: of the server named by --target, else of an embedded server on loopback. */
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
import { modelHint } from '../../util/closest-name.js';
import { shippedModels } from '../../util/package-root.js';
import { type BundleFolder, openBundleFolder } from './bundle-folder.js';
import { throwIfInterrupted } from './interrupt.js';
import { note } from './output.js';
import { explainCall } from './server-call.js';
import { refuseUnusedTargetFlags, type TargetFlags, targetOptions } from './target.js';

export interface SessionOptions extends TargetFlags {
  /** NAME, NAME@VERSION or a bundle folder; optional if only one model is loaded. */
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
  /** What `connect` connects to, for clients in other processes. */
  readonly target: string;
  readonly clientOptions: SaladClientOptions;
  /** The requested model, which the server has loaded. */
  readonly model: ModelChoice;
  /** Opens another client of the same server; the caller closes it. */
  connect(): SaladClient;
  /** Converts a failed call into an error whose message says what to do next; returns other errors unchanged. */
  explain(error: unknown): unknown;
  close(): Promise<void>;
}

/** Turns TLS and authentication off: SALAD_ variables for a real server on this machine must not apply here. */
const LOOPBACK_OVERRIDES = {
  ...{ tlsCertFile: '', tlsKeyFile: '', tlsClientCaFile: '' },
  ...{ authJwks: '', authIssuer: '', authAudience: '', authApiKeysFile: '' },
} as const;

/** Longest time for a server to list its models. */
const LIST_TIMEOUT_MS = 10_000;

/**
 * Opens a session. Both kinds of session call a gRPC port, so that both run the same code.
 * @throws SaladError CONFIGURATION_INVALID, MODEL_NOT_FOUND, BUNDLE_INVALID, ENGINE_UNAVAILABLE, CANCELLED;
 *   ServerCallError if a call to the server of --target fails
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
  let hasAnswered = false;
  const explain = (error: unknown) =>
    explainCall(error, { target, tls: clientOptions.tls !== undefined, hasAnswered });
  const connect = () => createClient(target, clientOptions);
  const client = connect();
  try {
    const listed = await client.listModels({ timeoutMs: LIST_TIMEOUT_MS, signal: options.signal });
    hasAnswered = true;
    const loaded = listed.map(({ identity }) => `${identity?.name}@${identity?.version}`);
    const model = folder ?? chooseModel(options.model, loaded);
    const served = listed.find(
      ({ identity }) => identity?.name === folder?.name && identity?.version === folder?.version,
    );
    if (folder && served?.identity?.bundleSha256 !== folder.sha256) {
      throw new SaladError(
        'MODEL_NOT_FOUND',
        `${target} does not serve the bundle of --model ${options.model} (${folder.name}@${folder.version}, ` +
          `SHA-256 ${folder.sha256}); loaded: ${loaded.join(', ')}; leave --target out to score with that bundle here`,
      );
    }
    return { client, target, clientOptions, model, connect, explain, close: async () => client.close() };
  } catch (error) {
    client.close();
    throw explain(error);
  }
}

async function openEmbedded(options: SessionOptions, folder: BundleFolder | undefined): Promise<Session> {
  refuseUnusedTargetFlags(options);
  const temporaryModels = await folder?.createModelsFolder();
  let server: RunningServer | undefined;
  const stop = async () => {
    await server?.stop(0);
    if (temporaryModels !== undefined) await rm(temporaryModels, { recursive: true, force: true });
  };
  try {
    server = await startEmbedded(options, temporaryModels);
    const { address, models } = server;
    const model = folder ?? chooseModel(options.model, models);
    throwIfInterrupted(options.signal);
    const connect = () => new SaladClient(address);
    const client = connect();
    return {
      client,
      target: address,
      clientOptions: {},
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

async function startEmbedded(
  options: SessionOptions,
  temporaryModels: string | undefined,
): Promise<RunningServer> {
  const models = temporaryModels ?? options.models;
  const config = await loadConfig({
    environment: options.environment,
    defaults: { models: [shippedModels()], logLevel: 'warn' },
    flags: {
      listen: '127.0.0.1:0',
      ...LOOPBACK_OVERRIDES,
      ...(models === undefined ? {} : { models: [models] }),
      ...(options.engine === undefined ? {} : { engine: options.engine }),
    },
  });
  return startServer(config, { logger: createNoteLogger(config.logLevel) });
}

/** Prints the log of the embedded server as human-readable notes; its JSON lines are for log collectors. */
function createNoteLogger(level: string): Logger {
  // The message alone of an error: its causes and its stack are for log collectors.
  const serializers = { err: (error: Error) => ({ message: error.message }) };
  return pino(
    { level, base: null, timestamp: false, serializers },
    { write: (line) => note(formatLogLine(line)) },
  );
}

function formatLogLine(line: string): string {
  const { level, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const levelName = pino.levels.labels[Number(level)] ?? 'log';
  const details = Object.entries(fields).map(([key, value]) => `${key} ${formatLogValue(value)}`);
  return `salad: server ${levelName}: ${String(msg)}${details.length === 0 ? '' : ` (${details.join(', ')})`}`;
}

/** The message alone of an error: its stack is for log collectors. */
function formatLogValue(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'object' && value !== null && 'message' in value) return String(value.message);
  return JSON.stringify(value);
}

/** @throws SaladError CONFIGURATION_INVALID for an invalid certificate or key */
function createClient(target: string, options: SaladClientOptions): SaladClient {
  try {
    return new SaladClient(target, options);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SaladError('CONFIGURATION_INVALID', `--target ${target}: ${reason}`, { cause: error });
  }
}

/**
 * Finds `NAME[@VERSION]` among the loaded models. Without a request, returns the only loaded model.
 * @throws SaladError CONFIGURATION_INVALID, MODEL_NOT_FOUND
 */
export function chooseModel(requested: string | undefined, loaded: readonly string[]): ModelChoice {
  const names = [...new Set(loaded.map((model) => model.split('@')[0] ?? ''))];
  if (requested === undefined) {
    if (names.length === 1 && names[0]) return { name: names[0] };
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `several models are loaded: choose one with --model (${loaded.join(', ')})`,
    );
  }
  const [, name = '', version] = /^([^@]*)(?:@([1-9]\d*))?$/.exec(requested) ?? [];
  if (name === '') {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--model ${requested}: write NAME, NAME@VERSION (a whole number) or the path of a bundle folder`,
    );
  }
  if (version === undefined ? names.includes(name) : loaded.includes(`${name}@${version}`)) {
    return { name, ...(version === undefined ? {} : { version: Number(version) }) };
  }
  throw new SaladError(
    'MODEL_NOT_FOUND',
    `model ${requested} is not loaded, and no bundle folder has this path${modelHint(requested, loaded)}; ` +
      `loaded: ${loaded.join(', ')}`,
  );
}
