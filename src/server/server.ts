/** The gRPC server: listens once every model is warmed up, and stops without losing running acquisitions. */
import type { Server, ServerCredentials } from '@grpc/grpc-js';
import { openGuard } from '../auth/guard.js';
import { portCredentials } from '../auth/tls.js';
import type { ServeConfig } from '../config/schema.js';
import { DicomDecoder } from '../dicom/decoder/dicom-decoder.js';
import { MemoryRelease } from '../limits/memory-release.js';
import { ModelRegistry } from '../registry/model-registry.js';
import { type Logger, silentLogger } from '../telemetry/logger.js';
import { Telemetry } from '../telemetry/telemetry.js';
import { drain } from './drain.js';
import type { ServerGroup } from './group.js';
import { Health, type ServingState } from './health.js';
import { openHealthPort } from './health-port.js';
import { bind, checkListen, withPort } from './listen.js';
import { createPort } from './port.js';

export const SERVICE_NAMES = [
  'salad.v1.AnomalyScoring',
  'salad.v1.ModelRegistry',
  'inference.GRPCInferenceService',
] as const;

export interface RunningServer {
  /** HOST:PORT that the server listens on; of a process of several: the setting. */
  readonly address: string;
  /** 0 of a process of several. */
  readonly port: number;
  /** Port that serves health only; undefined without `healthListen`. */
  readonly healthPort: number | undefined;
  readonly engine: string;
  /** Names with versions, such as "phantom@1". */
  readonly models: readonly string[];
  readonly registry: ModelRegistry;
  /** Refuses new calls, waits for running ones for at most `graceMs`, then closes everything. Idempotent. */
  stop(graceMs: number): Promise<void>;
}

export interface ServerOptions {
  /** @default silent */
  readonly logger?: Logger;
  /** File of the engine worker threads. @default the worker of this package */
  readonly workerEntry?: string | undefined;
  /** Cores for the engine. @default those that this process may use */
  readonly cores?: number;
  /** Of a process of several: it does not listen itself. @default the server is alone */
  readonly group?: ServerGroup;
}

/** @throws SaladError CONFIGURATION_INVALID, ADDRESS_UNAVAILABLE, BUNDLE_INVALID, ENGINE_UNAVAILABLE */
export async function startServer(config: ServeConfig, options: ServerOptions = {}): Promise<RunningServer> {
  const { logger = silentLogger(), cores, group } = options;
  const telemetry = new Telemetry(logger);
  // Before the models, which take seconds to load: invalid files or an address in use are reported at once.
  if (group === undefined) await checkListen('listen', config.listen);
  await checkListen('healthListen', config.healthListen);
  const guard = await openGuard(config, logger);
  const tls = await portCredentials(config, logger);
  const closers: (() => Promise<void> | void)[] = [() => guard.close(), () => tls.close()];
  const closeAll = async () => {
    // In reverse order of opening.
    for (const close of closers.reverse()) await close();
  };
  try {
    const registry = await ModelRegistry.open(config, logger, telemetry, options);
    closers.push(() => registry.close());
    const dicom = new DicomDecoder();
    closers.push(() => dicom.close());
    const health = new Health(SERVICE_NAMES);
    const healthPort = await openHealthPort(config.healthListen, health, logger);
    closers.push(() => healthPort?.close());
    const { server, limits, ...parts } = createPort({
      ...{ config, logger, telemetry, registry, guard, health, dicom, cores, group },
    });
    const memory = new MemoryRelease({ isIdle: () => limits.receivedBytes + registry.budget.bytes === 0 });
    closers.push(() => memory.close());
    const shutDown = () => server.forceShutdown();
    closers.push(shutDown);
    const port = await acceptConnections(server, config, tls.credentials, group);
    const stopListening = async () => {
      await group?.callsEnded();
      shutDown();
    };
    let stopping: Promise<void> | undefined;
    const updateHealth = followState(registry, health, group, () => stopping !== undefined);
    registry.onMemoryFreed(() => memory.releaseSoon());
    const running = {
      address: group === undefined ? withPort(config.listen, port) : config.listen,
      healthPort: healthPort?.port,
      engine: registry.engine,
      models: registry.list().map(({ key }) => key),
    };
    const security = { tls: tls.summary, auth: guard.summary, admin: config.admin };
    logger.info({ ...running, ...security }, group === undefined ? 'ready' : 'process ready');
    return {
      ...running,
      port,
      registry,
      stop(graceMs) {
        stopping ??= drain({ ...parts, health, stopListening }, graceMs).then(closeAll);
        updateHealth();
        return stopping;
      },
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/**
 * Accepts connections of clients: on a port of its own, or those that the group hands over.
 * @returns the port; 0 in a group
 * @throws SaladError ADDRESS_UNAVAILABLE
 */
async function acceptConnections(
  server: Server,
  { listen }: ServeConfig,
  credentials: ServerCredentials,
  group: ServerGroup | undefined,
): Promise<number> {
  if (group === undefined) return bind(server, 'listen', listen, credentials);
  const injector = server.createConnectionInjector(credentials);
  group.onConnection((socket) => injector.injectConnection(socket));
  return 0;
}

/**
 * Applies the state of the engines and models to the health of the server, now and whenever it changes.
 * @returns a function that must be called when the answer of `isStopping` has changed
 */
function followState(
  registry: ModelRegistry,
  health: Health,
  group: ServerGroup | undefined,
  isStopping: () => boolean,
): () => void {
  const state = (): ServingState => {
    const { isServing, engine, fallbackOrder } = registry.pool;
    const canServe = isServing && !isStopping();
    return {
      ...{ isServing: canServe, fallbackOrder, engines: isServing ? [engine] : [] },
      models: canServe ? registry.list().flatMap(({ name, key }) => [name, key]) : [],
    };
  };
  // Of several processes each answers for all: where one cannot serve, the others can.
  group?.onState((ofAll) => health.apply(ofAll));
  const update = () => (group === undefined ? health.apply(state()) : group.report(state()));
  update();
  registry.pool.onChange(update);
  registry.onChange(update);
  return update;
}
