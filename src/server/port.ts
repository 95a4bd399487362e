/** The gRPC server with its services and limits, not listening yet. */
import { availableParallelism } from 'node:os';
import type { Server } from '@grpc/grpc-js';
import { callerOf } from '../auth/caller.js';
import type { Guard } from '../auth/guard.js';
import { restrictCiphers } from '../auth/tls.js';
import type { AdmissionConfig } from '../config/sections/admission.js';
import type { CallConfig } from '../config/sections/calls.js';
import type { ConnectionConfig } from '../config/sections/connections.js';
import type { PortConfig } from '../config/sections/port.js';
import type { QuotaConfig } from '../config/sections/quotas.js';
import type { DicomDecoder } from '../dicom/decoder/dicom-decoder.js';
import { AnomalyScoringService } from '../gen/salad/v1/anomaly_scoring.js';
import { ModelRegistryService } from '../gen/salad/v1/model_registry.js';
import { createMethodLimits } from '../limits/method-limits.js';
import { PortLimits } from '../limits/port-limits.js';
import type { ModelRegistry, ModelVersion } from '../registry/model-registry.js';
import type { Logger } from '../telemetry/logger.js';
import type { Telemetry } from '../telemetry/telemetry.js';
import { Places } from '../util/places.js';
import type { ServerGroup } from './group.js';
import { anomalyScoringHandlers } from './handlers/anomaly-scoring.js';
import { CallTracker } from './handlers/call-tracker.js';
import { modelRegistryHandlers } from './handlers/model-registry-service.js';
import { OpenCalls } from './handlers/open-calls.js';
import { OPEN_INFERENCE_SERVICE, openInferenceHandlers } from './handlers/open-inference.js';
import type { Health } from './health.js';
import { Connections, connectionLimits, maxStreamsOption } from './http2/connections.js';
import { createServer } from './http2/create-server.js';
import { addReflection } from './reflection.js';

/** Most images decompressed at once: each occupies a thread. */
const DECODED_IMAGES_MAX = 4;

export interface PortParts {
  readonly config: PortConfig & ConnectionConfig & AdmissionConfig & CallConfig & QuotaConfig;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  readonly registry: ModelRegistry;
  readonly guard: Guard;
  readonly health: Health;
  readonly dicom: DicomDecoder;
  /** Cores for the engine. @default those that this process may use */
  readonly cores?: number | undefined;
  readonly group?: ServerGroup | undefined;
}

/** Creates the gRPC server with its services, not listening yet, and the trackers of its connections and calls. */
export function createPort(parts: PortParts) {
  const { config, logger, telemetry, guard } = parts;
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
  observeState(parts, calls);
  const limits = createLimits(parts);
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
  addServices(server, parts, calls);
  return { server, limits, connections, calls, openCalls };
}

/** Lets telemetry read the state of the server whenever it is asked for metrics. */
function observeState({ telemetry, registry }: PortParts, calls: CallTracker): void {
  telemetry.observe({
    activeCalls: () => calls.active,
    queuedTiles: () => registry.queuedTiles,
    freeSlots: () => registry.pool.freeSlots,
    engineLosses: () => registry.pool.failovers.losses,
    prototypes: () => new Map(registry.list().map(({ key, manifest }) => [key, manifest.bank.rows])),
    models: () => countByState(registry.versions()),
  });
}

function countByState(versions: readonly ModelVersion[]): Readonly<Record<string, number>> {
  const counts = { serving: 0, loading: 0, unloading: 0, refused: 0 };
  for (const { state } of versions) counts[state] += 1;
  return counts;
}

/** Limits of peers before a handler runs. */
function createLimits({ config, logger, telemetry, registry, guard }: PortParts): PortLimits {
  const { maxMessageBytes } = config;
  return new PortLimits({
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
}

function addServices(server: Server, parts: PortParts, calls: CallTracker): void {
  const { config, logger, telemetry, registry, health, dicom, cores = availableParallelism(), group } = parts;
  const decoding = new Places(Math.min(DECODED_IMAGES_MAX, cores));
  const changes = group?.changesOf(registry) ?? registry;
  const scoring = { config, registry, changes, calls, telemetry, dicom, decoding };
  server.addService(AnomalyScoringService, anomalyScoringHandlers(scoring));
  server.addService(OPEN_INFERENCE_SERVICE, openInferenceHandlers({ ...scoring, logger }));
  server.addService(ModelRegistryService, modelRegistryHandlers(registry, changes, config.retryDelayMs));
  health.addTo(server);
  addReflection(server);
}
