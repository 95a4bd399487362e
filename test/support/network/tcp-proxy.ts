/** A TCP proxy between client and server whose connections a test can break. */
import { createServer, type Server, type Socket, connect as tcpConnect } from 'node:net';

export interface TcpProxy {
  readonly address: string;
  /** Resets every connection, as a crashed peer or a firewall does. */
  reset(): void;
  /** Forwards nothing from now on and closes nothing, as when a cable is unplugged. */
  freeze(): void;
  /** Number of connections until now. */
  readonly opened: number;
  close(): Promise<void>;
}

/**
 * @param onBytes called for bytes of the client, with their total over all connections until now. They are forwarded after
 *   that, so that it can change them.
 */
export async function startTcpProxy(
  target: { readonly host: string; readonly port: number; readonly localAddress?: string },
  onBytes?: (total: number, bytes: Buffer) => void,
): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let opened = 0;
  let total = 0;
  const server: Server = createServer((client) => {
    opened += 1;
    const upstream = tcpConnect(target);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (data: Buffer) => {
      total += data.byteLength;
      onBytes?.(total, data);
    });
    client.pipe(upstream);
    upstream.pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('the proxy has no port');
  return {
    address: `127.0.0.1:${bound.port}`,
    reset() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    freeze() {
      for (const socket of sockets) socket.unpipe().pause();
    },
    get opened() {
      return opened;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
