/** A second port for probes that speak no TLS, such as Kubernetes' own: grpc.health.v1 and nothing else. */
import { ServerCredentials } from '@grpc/grpc-js';
import { SaladError } from '../errors/index.js';
import { silentLogger } from '../telemetry/logger.js';
import type { Health } from './health.js';
import { createServerWithWindow } from './http2/create-server.js';
import { limitsOfMethods } from './limits/methods.js';
import { PortLimits } from './limits/port-limits.js';
import { Rates } from './limits/rates.js';

/** Probes come one at a time; whoever opens more has other plans. */
const MAX_CONNECTIONS = 64;
const IDLE_MS = 60_000;
/** HTTP/2's own. */
const WINDOW_BYTES = 65_535;

const LIMITS = {
  // No scoring here: all methods are small ones.
  limitsOf: limitsOfMethods({ maxMessageBytes: 0, maxTiles: 0 }),
  maxConnections: MAX_CONNECTIONS,
  maxReceivedBytes: 1024 * 1024,
  maxPendingBytes: 0,
  receiveWindowBytes: WINDOW_BYTES,
  // All probes may come from one address.
  peerShareRatio: 0,
  rates: new Rates({ perSecond: 1000 }),
  retryDelayMs: 1000,
  // Probes are asked for every few seconds: nobody wants a line for each.
  logger: silentLogger(),
};

export interface HealthPort {
  readonly port: number;
  close(): void;
}

/**
 * It outlives the drain of the main port, so that a probe hears NOT_SERVING instead of nothing.
 * @param listen HOST:PORT; empty means no such port
 * @throws SaladError CONFIGURATION_INVALID
 */
export async function openHealthPort(listen: string, health: Health): Promise<HealthPort | undefined> {
  if (listen === '') return undefined;
  const limits = new PortLimits(LIMITS);
  const server = createServerWithWindow(
    {
      interceptors: [limits.interceptor],
      'grpc.max_concurrent_streams': 16,
      'grpc.max_connection_idle_ms': IDLE_MS,
    },
    {
      windowBytes: WINDOW_BYTES,
      onHttp2Server: (http2Server) => {
        limits.watch(http2Server);
        http2Server.maxConnections = MAX_CONNECTIONS;
      },
    },
  );
  health.addTo(server);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else
        reject(
          new SaladError('CONFIGURATION_INVALID', `healthListen ${listen}: ${error.message}`, {
            cause: error,
          }),
        );
    });
  });
  return { port, close: () => server.forceShutdown() };
}
