/** The gRPC server: listens once every model is warm, and stops without losing what runs. */

import { callerOf } from '../auth/caller.js';
import { type Guard, openGuard } from '../auth/guard.js';
import { portCredentials, restrictCiphers } from '../auth/tls.js';
import type { ServeConfig } from '../config/schema.js';
import { AnomalyScoringService } from '../gen/salad/v1/anomaly_scoring.js';
import { ModelRegistryService } from '../gen/salad/v1/model_registry.js';
import { MemoryRelease } from '../limits/memory-release.js';
import { limitsOfMethods } from '../limits/methods.js';
import { PortLimits } from '../limits/port-limits.js';
import { ModelRegistry } from '../registry/model-registry.js';
import { type Logger, silentLogger } from '../telemetry/logger.js';
import { Telemetry } from '../telemetry/telemetry.js';
import { drain } from './drain.js';
import { anomalyScoringHandlers } from './handlers/anomaly-scoring.js';
import { CallTracker } from './handlers/call-tracker.js';
import { modelRegistryHandlers } from './handlers/model-registry.js';
import { OpenCalls } from './handlers/open-calls.js';
import { Health } from './health.js';
import { openHealthPort } from './health-port.js';
import { Connections, connectionOptions, connectionsOptions } from './http2/connection-limits.js';
import { createServerWithWindow } from './http2/create-server.js';
import { bind, checkListen } from './listen.js';
import { addReflection } from './reflection.js';

export const SERVICE_NAMES = ['salad.v1.AnomalyScoring', 'salad.v1.ModelRegistry'] as const;

export interface RunningServer {
  /** HOST:PORT as listened on. */
  readonly address: string;
  readonly port: number;
  /** Where only health is answered; undefined without `healthListen`. */
  readonly healthPort: number | undefined;
  readonly engine: string;
  /** Such as "phantom@1". */
  readonly models: readonly string[];
  readonly registry: ModelRegistry;
  /** Refuses new calls, lets running ones finish for at most `graceMs`, then closes everything. Idempotent. */
  stop(graceMs: number): Promise<void>;
}

export interface ServerOptions {
  /** @default silent */
  readonly logger?: Logger;
  /** File of the engine worker threads. @default the worker of this package */
  readonly workerEntry?: string;
}

/** @throws SaladError CONFIGURATION_INVALID, ADDRESS_UNAVAILABLE, BUNDLE_INVALID, ENGINE_UNAVAILABLE */
export async function startServer(config: ServeConfig, options: ServerOptions = {}): Promise<RunningServer> {
  const logger = options.logger ?? silentLogger();
  const telemetry = new Telemetry(logger);
  // Before the models, which take seconds: a wrong file or an address in use is reported at once.
  await checkListen('listen', config.listen);
  await checkListen('healthListen', config.healthListen);
  const guard = await openGuard(config, logger);
  const tls = await portCredentials(config, logger);
  const closers: (() => Promise<void> | void)[] = [() => guard.close(), () => tls.close()];
  const closeAll = async () => {
    // What was opened last is closed first.
    for (const close of closers.reverse()) await close();
  };
  try {
    const registry = await ModelRegistry.open(config, logger, telemetry, options);
    closers.push(() => registry.close());
    const health = new Health(SERVICE_NAMES);
    const healthPort = await openHealthPort(config.healthListen, health, logger);
    closers.push(() => healthPort?.close());
    const { server, limits, ...parts } = createPort({ config, logger, telemetry, registry, guard, health });
    const memory = new MemoryRelease({ isIdle: () => limits.receivedBytes + registry.budget.bytes === 0 });
    closers.push(() => memory.close());
    const stopListening = () => server.forceShutdown();
    closers.push(stopListening);
    const port = await bind(server, 'listen', config.listen, tls.credentials);
    let stopping: Promise<void> | undefined;
    const updateHealth = () => {
      const { isServing, engine, fallbackOrder } = registry.pool;
      health.setEngines(fallbackOrder, isServing ? engine : undefined);
      if (stopping === undefined) health.set(isServing ? 'SERVING' : 'NOT_SERVING');
    };
    updateHealth();
    registry.pool.onChange(updateHealth);
    const running = {
      address: `${config.listen.slice(0, config.listen.lastIndexOf(':'))}:${port}`,
      healthPort: healthPort?.port,
      engine: registry.engine,
      models: registry.list().map(({ key }) => key),
    };
    logger.info({ ...running, tls: tls.summary, auth: guard.summary, admin: config.admin }, 'ready');
    return {
      ...running,
      port,
      registry,
      stop(graceMs) {
        stopping ??= drain({ ...parts, health, stopListening }, graceMs).then(closeAll);
        return stopping;
      },
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

interface PortParts {
  readonly config: ServeConfig;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  readonly registry: ModelRegistry;
  readonly guard: Guard;
  readonly health: Health;
}

/** The gRPC server with its services, not listening yet; and what its connections and calls are tracked by. */
function createPort({ config, logger, telemetry, registry, guard, health }: PortParts) {
  const connections = new Connections(connectionsOptions(config, logger));
  const openCalls = new OpenCalls({
    logger,
    telemetry,
    retryDelayMs: config.retryDelayMs,
    requestEndMs: Math.min(config.headerTimeoutMs, config.requestTimeoutMs),
    unreadMs: config.idleTimeoutMs,
  });
  const calls = new CallTracker({
    maxCalls: config.maxConcurrentAcquisitions,
    refuse: (metadata, error) => openCalls.refuse(metadata, error),
  });
  telemetry.observe({
    activeCalls: () => calls.active,
    queuedTiles: () => registry.queuedTiles,
    freeSlots: () => registry.pool.freeSlots,
    engineLosses: () => registry.pool.failovers.losses,
    prototypes: new Map(registry.list().map(({ key, manifest }) => [key, manifest.bank.rows])),
  });
  const { maxMessageBytes } = config;
  const limits = new PortLimits({
    ...config,
    maxReceivedBytes: Math.max(config.maxReceivedBytes, maxMessageBytes),
    peerOf: (metadata) => callerOf(metadata)?.peer,
    limitsOf: limitsOfMethods({
      maxMessageBytes,
      maxTiles: Math.max(...registry.list().map(({ geometry }) => geometry.tileCount)),
    }),
    rates: guard.rates,
    logger,
    telemetry,
  });
  const server = createServerWithWindow(
    {
      interceptors: [limits.interceptor, openCalls.interceptor, guard.interceptor],
      'grpc.max_send_message_length': -1,
      // No channelz service is offered: counting for it would cost every message.
      'grpc.enable_channelz': 0,
      ...connectionOptions(config),
    },
    {
      windowBytes: config.receiveWindowBytes,
      handshakeTimeoutMs: config.connectTimeoutMs,
      onHttp2Server: (http2Server) => {
        restrictCiphers(http2Server);
        limits.watch(http2Server);
        connections.watch(http2Server);
      },
    },
  );
  server.addService(AnomalyScoringService, anomalyScoringHandlers({ config, registry, calls, telemetry }));
  server.addService(ModelRegistryService, modelRegistryHandlers(registry, config.retryDelayMs));
  health.addTo(server);
  addReflection(server);
  return { server, limits, connections, calls, openCalls };
}
