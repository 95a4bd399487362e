/** A second port for probes that speak no TLS, such as Kubernetes' own: grpc.health.v1 and nothing else. */
import { ServerCredentials } from '@grpc/grpc-js';
import { limitsOfMethods } from '../limits/methods.js';
import { PortLimits } from '../limits/port-limits.js';
import { Rates } from '../limits/rates.js';
import { type Logger, silentLogger } from '../telemetry/logger.js';
import type { Health } from './health.js';
import { Connections } from './http2/connection-limits.js';
import { createServerWithWindow } from './http2/create-server.js';
import { bind } from './listen.js';

/** Probes come one at a time. */
const MAX_CONNECTIONS = 64;
const CONNECTION_LIMITS = {
  maxConnections: MAX_CONNECTIONS,
  prefaceMs: 10_000,
  idleMs: 60_000,
  maxAgeMs: 0,
  keepaliveMs: 30_000,
  keepaliveTimeoutMs: 20_000,
  minPingIntervalMs: 10_000,
  closeMs: 5000,
  lingerMs: 5000,
} as const;
/** HTTP/2's own. */
const WINDOW_BYTES = 65_535;

const PORT_LIMITS = {
  peerOf: () => undefined,
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
  /** Ends all calls and connections. */
  close(): Promise<void>;
}

/**
 * It outlives the drain of the main port, so that a probe hears NOT_SERVING instead of nothing.
 * @param listen HOST:PORT; empty means no such port
 * @throws SaladError ADDRESS_UNAVAILABLE
 */
export async function openHealthPort(
  listen: string,
  health: Health,
  logger: Logger,
): Promise<HealthPort | undefined> {
  if (listen === '') return undefined;
  const limits = new PortLimits(PORT_LIMITS);
  const connections = new Connections({ ...CONNECTION_LIMITS, logger });
  const server = createServerWithWindow(
    {
      interceptors: [limits.interceptor],
      'grpc.max_concurrent_streams': 16,
      'grpc.enable_channelz': 0,
    },
    {
      windowBytes: WINDOW_BYTES,
      onHttp2Server: (http2Server) => {
        limits.watch(http2Server);
        connections.watch(http2Server);
      },
    },
  );
  health.addTo(server);
  const port = await bind(server, 'healthListen', listen, ServerCredentials.createInsecure());
  return {
    port,
    async close() {
      server.forceShutdown();
      await connections.close(0);
    },
  };
}
