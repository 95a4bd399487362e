/**
 * grpc-js's server keeps HTTP/2's 64 KiB receive window: 3.3 MB/s at 20 ms round trip. It offers no option for that,
 * nor for the TLS handshake's time-out and the number of connections, so this file reaches into two of its internals:
 * the http2 options, for streams and handshakes, and the http2 servers it makes, for connections. Tests fail when a
 * new version no longer has them.
 */
import type { Http2SecureServer, Http2Server, ServerHttp2Session } from 'node:http2';
import { Server, type ServerOptions } from '@grpc/grpc-js';

type AnyHttp2Server = Http2Server | Http2SecureServer;

interface ServerInternals {
  commonServerOptions?: { settings?: { initialWindowSize?: number }; handshakeTimeout?: number };
  createHttp2Server?: (...args: unknown[]) => AnyHttp2Server;
}

export interface WindowOptions {
  /** What a stream, and a connection, may send before it must wait. */
  readonly windowBytes: number;
  /** @default Node's: two minutes */
  readonly handshakeTimeoutMs?: number;
  /** Told of every http2 server before it listens. */
  readonly onHttp2Server?: (server: AnyHttp2Server) => void;
}

/** A grpc-js server whose streams and connections take `windowBytes` before the client must wait. */
export function createServerWithWindow(
  options: ServerOptions,
  { windowBytes, handshakeTimeoutMs, onHttp2Server }: WindowOptions,
): Server {
  const server = new Server(options);
  const internals = server as unknown as ServerInternals;
  const common = internals.commonServerOptions;
  const create = internals.createHttp2Server;
  // Without them the server works as before, only slower over long distances, and with fewer limits.
  if (common === undefined || create === undefined) return server;
  common.settings = { ...common.settings, initialWindowSize: windowBytes };
  if (handshakeTimeoutMs !== undefined) common.handshakeTimeout = handshakeTimeoutMs;
  internals.createHttp2Server = function createHttp2Server(...args: unknown[]) {
    const http2Server = create.apply(server, args);
    http2Server.on('session', (session: ServerHttp2Session) => session.setLocalWindowSize(windowBytes));
    onHttp2Server?.(http2Server);
    return http2Server;
  };
  return server;
}
