/** A client for a verb: of the server named by --target, else of one started here on loopback. */
import { SaladClient, type SaladClientOptions } from '../../../clients/typescript/src/index.js';
import { loadConfig } from '../../config/load.js';
import { SaladError } from '../../errors/index.js';
import { startServer } from '../../server/server.js';
import { createLogger } from '../../telemetry/logger.js';
import { shippedModels } from '../../util/package-root.js';
import { type TargetFlags, targetOptions } from './target.js';

export interface SessionOptions extends TargetFlags {
  readonly models?: string;
  readonly engine?: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export interface Session {
  readonly client: SaladClient;
  /** Another client of the same server, for its caller to close. */
  connect(): SaladClient;
  /** `name@version` of every loaded model. */
  readonly models: readonly string[];
  close(): Promise<void>;
}

/** A server for one command: the variables of the machine's real server are not meant for it. */
const OPEN_ON_LOOPBACK = {
  ...{ tlsCertFile: '', tlsKeyFile: '', tlsClientCaFile: '' },
  ...{ authJwks: '', authIssuer: '', authAudience: '', authApiKeysFile: '' },
} as const;

/** Both ways lead through a gRPC port: an embedded server is a server. */
export async function openSession(options: SessionOptions): Promise<Session> {
  if (options.target !== undefined) {
    const { target } = options;
    const clientOptions = await targetOptions({ ...options, target }, options.environment);
    const connect = () => connected(target, clientOptions);
    const client = connect();
    const models = (await client.listModels({ timeoutMs: 10_000 })).map(
      (model) => `${model.identity?.name}@${model.identity?.version}`,
    );
    return { client, connect, models, close: async () => client.close() };
  }
  const config = await loadConfig({
    environment: options.environment,
    defaults: { models: shippedModels(), logLevel: 'warn' },
    flags: {
      listen: '127.0.0.1:0',
      ...OPEN_ON_LOOPBACK,
      ...(options.models === undefined ? {} : { models: options.models }),
      ...(options.engine === undefined ? {} : { engine: options.engine }),
    },
  });
  const server = await startServer(config, { logger: createLogger(config) });
  const connect = () => new SaladClient(server.address);
  const client = connect();
  return {
    client,
    connect,
    models: server.models,
    async close() {
      client.close();
      await server.stop(0);
    },
  };
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

/** Splits `NAME[@VERSION]`; without one, the only loaded model. @throws SaladError CONFIGURATION_INVALID */
export function chooseModel(
  wanted: string | undefined,
  loaded: readonly string[],
): { readonly name: string; readonly version?: number } {
  if (wanted === undefined) {
    const names = [...new Set(loaded.map((model) => model.split('@')[0]))];
    if (names.length === 1 && names[0]) return { name: names[0] };
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `several models are loaded: choose one with --model (${loaded.join(', ')})`,
    );
  }
  const [name = '', version] = wanted.split('@');
  if (version === undefined) return { name };
  if (!/^\d+$/.test(version)) {
    throw new SaladError('CONFIGURATION_INVALID', `--model ${wanted}: the version must be a whole number`);
  }
  return { name, version: Number(version) };
}
