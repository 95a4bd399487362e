/** A second port for probes without TLS, such as those of Kubernetes: it serves grpc.health.v1 and nothing else. */
import { ServerCredentials } from '@grpc/grpc-js';
import { createMethodLimits } from '../limits/method-limits.js';
import { PortLimits } from '../limits/port-limits.js';
import { RateLimiter } from '../limits/rate-limiter.js';
import { type Logger, silentLogger } from '../telemetry/logger.js';
import type { Health } from './health.js';
import { Connections } from './http2/connections.js';
import { createServer } from './http2/create-server.js';
import { bind } from './listen.js';

/** Far more than needed: a prober sends one probe at a time. */
const MAX_CONNECTIONS = 64;
const CONNECTION_LIMITS = {
  config: {
    maxConnections: MAX_CONNECTIONS,
    connectTimeoutMs: 10_000,
    connectionIdleMs: 60_000,
    connectionMaxAgeMs: 0,
    keepaliveMs: 30_000,
    keepaliveTimeoutMs: 20_000,
    minPingIntervalMs: 10_000,
  },
  lingerMs: 5000,
} as const;
/** HTTP/2's default window. */
const WINDOW_BYTES = 65_535;

const PORT_LIMITS = {
  peerOf: () => undefined,
  // This port has no scoring methods, so all its methods accept small messages only.
  limitsOf: createMethodLimits({ maxMessageBytes: 0, maxTiles: () => 0 }),
  maxConnections: MAX_CONNECTIONS,
  maxReceivedBytes: 1024 * 1024,
  maxPendingBytes: 0,
  receiveWindowBytes: WINDOW_BYTES,
  // No shares, because all probes may come from one address.
  peerShareRatio: 0,
  rateLimiter: new RateLimiter({ callsPerSecond: 1000 }),
  retryDelayMs: 1000,
  // Probes come every few seconds and would fill the log.
  logger: silentLogger(),
};

export interface HealthPort {
  readonly port: number;
  /** Ends all calls and connections. */
  close(): Promise<void>;
}

/**
 * The port stays open until the drain of the main port has ended, so that probes get NOT_SERVING instead of no answer.
 * @param listen HOST:PORT; empty means no health port
 * @throws SaladError ADDRESS_UNAVAILABLE
 */
export async function openHealthPort(
  listen: string,
  health: Health,
  logger: Logger,
): Promise<HealthPort | undefined> {
  if (listen === '') return undefined;
  const limits = new PortLimits(PORT_LIMITS);
  const connections = new Connections(CONNECTION_LIMITS, logger);
  const server = createServer(
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
