/** A second port for probes that speak no TLS, such as Kubernetes' own: grpc.health.v1 and nothing else. */
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { SaladError } from '../errors/index.js';
import type { Health } from './health.js';

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
  const server = new Server({ 'grpc.max_receive_message_length': 4096, 'grpc.max_concurrent_streams': 16 });
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
