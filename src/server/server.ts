/** The gRPC server: listens once every model is warmed up, and stops without losing running acquisitions. */
import { availableParallelism } from 'node:os';
import { callerOf } from '../auth/caller.js';
import { type Guard, openGuard } from '../auth/guard.js';
import { portCredentials, restrictCiphers } from '../auth/tls.js';
import type { ServeConfig } from '../config/schema.js';
import { DicomDecoder } from '../dicom/decoder/dicom-decoder.js';
import { AnomalyScoringService } from '../gen/salad/v1/anomaly_scoring.js';
import { ModelRegistryService } from '../gen/salad/v1/model_registry.js';
import { DecodeQueue } from '../imaging/decode/queue.js';
import { MemoryRelease } from '../limits/memory-release.js';
import { createMethodLimits } from '../limits/method-limits.js';
import { PortLimits } from '../limits/port-limits.js';
import { ModelRegistry, type ModelVersion } from '../registry/model-registry.js';
import { type Logger, silentLogger } from '../telemetry/logger.js';
import { Telemetry } from '../telemetry/telemetry.js';
import { drain } from './drain.js';
import type { ServerGroup } from './group.js';
import { anomalyScoringHandlers } from './handlers/anomaly-scoring.js';
import { CallTracker } from './handlers/call-tracker.js';
import { modelRegistryHandlers } from './handlers/model-registry-service.js';
import { OpenCalls } from './handlers/open-calls.js';
import { OPEN_INFERENCE_SERVICE, openInferenceHandlers } from './handlers/open-inference.js';
import { Health, type ServingState } from './health.js';
import { openHealthPort } from './health-port.js';
import { Connections, connectionLimits, maxStreamsOption } from './http2/connections.js';
import { createServer } from './http2/create-server.js';
import { bind, checkListen, withPort } from './listen.js';
import { addReflection } from './reflection.js';

export const SERVICE_NAMES = [
  'salad.v1.AnomalyScoring',
  'salad.v1.ModelRegistry',
  'inference.GRPCInferenceService',
] as const;

/** Most images decompressed at once: each occupies a thread. */
const DECODED_IMAGES_MAX = 4;

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
  const logger = options.logger ?? silentLogger();
  const { group } = options;
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
      ...{ config, logger, telemetry, registry, guard, health, dicom, options },
    });
    const memory = new MemoryRelease({ isIdle: () => limits.receivedBytes + registry.budget.bytes === 0 });
    closers.push(() => memory.close());
    const shutDown = () => server.forceShutdown();
    closers.push(shutDown);
    let port = 0;
    if (group === undefined) port = await bind(server, 'listen', config.listen, tls.credentials);
    else {
      const injector = server.createConnectionInjector(tls.credentials);
      group.onConnection((socket) => injector.injectConnection(socket));
    }
    const stopListening = async () => {
      await group?.callsEnded();
      shutDown();
    };
    let stopping: Promise<void> | undefined;
    const state = (): ServingState => {
      const { isServing, engine, fallbackOrder } = registry.pool;
      const canServe = isServing && stopping === undefined;
      return {
        ...{ isServing: canServe, fallbackOrder, engines: isServing ? [engine] : [] },
        models: canServe ? registry.list().flatMap(({ name, key }) => [name, key]) : [],
      };
    };
    // Of several processes each answers for all: where one cannot serve, the others can.
    group?.onState((ofAll) => health.apply(ofAll));
    const updateHealth = () => (group === undefined ? health.apply(state()) : group.report(state()));
    updateHealth();
    registry.pool.onChange(updateHealth);
    registry.onChange(updateHealth);
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

function countByState(versions: readonly ModelVersion[]): Readonly<Record<string, number>> {
  const counts = { serving: 0, loading: 0, unloading: 0, refused: 0 };
  for (const { state } of versions) counts[state] += 1;
  return counts;
}

interface PortParts {
  readonly config: ServeConfig;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  readonly registry: ModelRegistry;
  readonly guard: Guard;
  readonly health: Health;
  readonly dicom: DicomDecoder;
  readonly options: ServerOptions;
}

/** Creates the gRPC server with its services, not listening yet, and the trackers of its connections and calls. */
function createPort({ config, logger, telemetry, registry, guard, health, dicom, options }: PortParts) {
  const { cores = availableParallelism(), group } = options;
  const connections = new Connections(connectionLimits(config), logger);
  const openCalls = new OpenCalls({
    logger,
    telemetry,
    retryDelayMs: config.retryDelayMs,
    requestEndTimeoutMs: Math.min(config.headerTimeoutMs, config.requestTimeoutMs),
    unreadTimeoutMs: config.idleTimeoutMs,
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
    prototypes: () => new Map(registry.list().map(({ key, manifest }) => [key, manifest.bank.rows])),
    models: () => countByState(registry.versions()),
  });
  const { maxMessageBytes } = config;
  const limits = new PortLimits({
    maxConnections: config.maxConnections,
    maxReceivedBytes: Math.max(config.maxReceivedBytes, maxMessageBytes),
    maxPendingBytes: config.maxPendingBytes,
    receiveWindowBytes: config.receiveWindowBytes,
    peerShareRatio: config.peerShareRatio,
    retryDelayMs: config.retryDelayMs,
    peerOf: (metadata) => callerOf(metadata)?.peer,
    limitsOf: createMethodLimits({
      maxMessageBytes,
      maxTiles: () => registry.tilesMax,
    }),
    rateLimiter: guard.rateLimiter,
    logger,
    telemetry,
  });
  const server = createServer(
    {
      interceptors: [limits.interceptor, openCalls.interceptor, guard.interceptor],
      'grpc.max_send_message_length': -1,
      // No channelz service is offered, and its counters would cost time for every message.
      'grpc.enable_channelz': 0,
      ...maxStreamsOption(config),
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
  const decoding = new DecodeQueue(Math.min(DECODED_IMAGES_MAX, cores));
  const changes = group?.changesOf(registry) ?? registry;
  const scoring = { config, registry, changes, calls, telemetry, dicom, decoding };
  server.addService(AnomalyScoringService, anomalyScoringHandlers(scoring));
  server.addService(OPEN_INFERENCE_SERVICE, openInferenceHandlers({ ...scoring, logger }));
  server.addService(ModelRegistryService, modelRegistryHandlers(registry, changes, config.retryDelayMs));
  health.addTo(server);
  addReflection(server);
  return { server, limits, connections, calls, openCalls };
}
