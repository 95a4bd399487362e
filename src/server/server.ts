/** The gRPC server: listens once every model is warm, and stops without losing what runs. */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Server, ServerCredentials } from '@grpc/grpc-js';
import { load } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { openGuard } from '../auth/guard.js';
import { portCredentials } from '../auth/tls.js';
import type { ServeConfig } from '../config/schema.js';
import { DicomDecoder } from '../dicom/decoder/dicom-decoder.js';
import { SaladError } from '../errors/index.js';
import { AnomalyScoringService } from '../gen/salad/v1/anomaly_scoring.js';
import { ModelRegistryService } from '../gen/salad/v1/model_registry.js';
import { ModelRegistry } from '../registry/model-registry.js';
import { type Logger, silentLogger } from '../telemetry/logger.js';
import { Telemetry } from '../telemetry/telemetry.js';
import { drain } from './drain.js';
import { anomalyScoringHandlers } from './handlers/anomaly-scoring.js';
import { CallTracker } from './handlers/call-tracker.js';
import { modelRegistryHandlers } from './handlers/model-registry.js';
import { Health } from './health.js';
import { type HealthPort, openHealthPort } from './health-port.js';
import { connectionOptions, limitConnections } from './http2/connection-limits.js';
import { createServerWithWindow } from './http2/create-server.js';

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

/** @throws SaladError CONFIGURATION_INVALID, BUNDLE_INVALID, ENGINE_UNAVAILABLE */
export async function startServer(config: ServeConfig, options: ServerOptions = {}): Promise<RunningServer> {
  const logger = options.logger ?? silentLogger();
  const telemetry = new Telemetry(logger);
  // Before the models, which take seconds: a wrong file is told at once.
  const guard = await openGuard(config, logger, telemetry);
  const tls = await portCredentials(config, logger);
  let healthPort: HealthPort | undefined;
  const letGo = () => {
    healthPort?.close();
    guard.close();
    tls.close();
  };
  const dicom = new DicomDecoder();
  const registry = await ModelRegistry.open(config, logger, telemetry, options).catch((error: unknown) => {
    letGo();
    throw error;
  });
  try {
    const calls = new CallTracker({
      maxCalls: config.maxConcurrentAcquisitions,
      retryDelayMs: config.retryDelayMs,
      logger,
      telemetry,
    });
    telemetry.observe({
      activeCalls: () => calls.active,
      queuedTiles: () => registry.queuedTiles,
      freeSlots: () => registry.pool.freeSlots,
      engineLosses: () => registry.pool.failovers.losses,
      prototypes: new Map(registry.list().map(({ key, manifest }) => [key, manifest.bank.rows])),
    });
    const health = new Health(SERVICE_NAMES);
    const server = createServerWithWindow(
      {
        interceptors: [guard.interceptor],
        'grpc.max_receive_message_length': config.maxMessageBytes,
        'grpc.max_send_message_length': -1,
        // No channelz service is offered: counting for it would cost every message.
        'grpc.enable_channelz': 0,
        ...connectionOptions(config),
      },
      {
        windowBytes: config.receiveWindowBytes,
        handshakeTimeoutMs: config.connectTimeoutMs,
        onHttp2Server: (http2Server) => limitConnections(http2Server, config),
      },
    );
    server.addService(
      guard.metered(AnomalyScoringService),
      anomalyScoringHandlers({ config, registry, calls, telemetry, dicom }),
    );
    server.addService(ModelRegistryService, modelRegistryHandlers(registry, calls));
    health.addTo(server);
    await addReflection(server);
    const port = await bind(server, config.listen, tls.credentials);
    let stopping: Promise<void> | undefined;
    const tellHealth = () => {
      const { isServing, engine, ladder } = registry.pool;
      health.setEngines(ladder, isServing ? engine : undefined);
      if (stopping === undefined) health.set(isServing ? 'SERVING' : 'NOT_SERVING');
    };
    tellHealth();
    registry.pool.onChange(tellHealth);
    healthPort = await openHealthPort(config.healthListen, health);
    const address = `${config.listen.slice(0, config.listen.lastIndexOf(':'))}:${port}`;
    return {
      address,
      port,
      healthPort: healthPort?.port,
      engine: registry.engine,
      models: registry.list().map(({ key }) => key),
      registry,
      stop(graceMs) {
        stopping ??= drain(server, address, calls, health, graceMs).then(async () => {
          letGo();
          await dicom.close();
          await registry.close();
        });
        return stopping;
      },
    };
  } catch (error) {
    letGo();
    await registry.close();
    throw error;
  }
}

function bind(server: Server, listen: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, credentials, (error, port) => {
      if (error === null) resolve(port);
      else
        reject(
          new SaladError('CONFIGURATION_INVALID', `listen ${listen}: ${error.message}`, { cause: error }),
        );
    });
  });
}

async function addReflection(server: Server): Promise<void> {
  const root = protoRoot();
  const definition = await load(['salad/v1/anomaly_scoring.proto', 'salad/v1/model_registry.proto'], {
    includeDirs: [root],
    keepCase: true,
  });
  new ReflectionService(definition, { services: [...SERVICE_NAMES] }).addToServer(server);
}

/** The checkout's or the package's proto folder, whether run from src/ or from dist/src/. */
function protoRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'proto', 'salad'))) {
    const parent = dirname(folder);
    if (parent === folder)
      throw new SaladError('INTERNAL', 'the proto folder is missing from this installation');
    folder = parent;
  }
  return join(folder, 'proto');
}
