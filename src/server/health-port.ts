/** A second port for probes that speak no TLS, such as Kubernetes' own: grpc.health.v1 and nothing else. */
import { ServerCredentials } from '@grpc/grpc-js';
import type { Logger } from '../telemetry/logger.js';
import type { Health } from './health.js';
import { Connections } from './http2/connection-limits.js';
import { createServerWithWindow } from './http2/create-server.js';
import { bind } from './listen.js';

/** Probes come one at a time. */
const LIMITS = {
  maxConnections: 64,
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
  const connections = new Connections({ ...LIMITS, logger });
  const server = createServerWithWindow(
    {
      'grpc.max_receive_message_length': 4096,
      'grpc.max_concurrent_streams': 16,
      'grpc.enable_channelz': 0,
    },
    { windowBytes: WINDOW_BYTES, onHttp2Server: (http2Server) => connections.watch(http2Server) },
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
