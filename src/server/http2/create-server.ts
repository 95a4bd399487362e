/**
 * grpc-js's server keeps HTTP/2's 64 KiB receive window: 3.3 MB/s at 20 ms round trip. It offers no option for that,
 * nor for the TLS handshake's time-out and the number of connections, so this file uses two of its internals: the http2
 * options, for streams and handshakes, and the http2 servers it makes, for connections.
 */
import type { Http2SecureServer, Http2Server, ServerHttp2Session } from 'node:http2';
import { Server, type ServerOptions } from '@grpc/grpc-js';
import { SaladError } from '../../errors/index.js';

type AnyHttp2Server = Http2Server | Http2SecureServer;

interface ServerInternals {
  commonServerOptions?: {
    settings?: { initialWindowSize?: number; maxHeaderListSize?: number };
    handshakeTimeout?: number;
  };
  createHttp2Server?: (...args: unknown[]) => AnyHttp2Server;
}

export interface WindowOptions {
  /** What a stream, and a connection, may send before it must wait. */
  readonly windowBytes: number;
  /** @default Node's: two minutes */
  readonly handshakeTimeoutMs?: number;
  /** Called with every http2 server before it listens. */
  readonly onHttp2Server?: (server: AnyHttp2Server) => void;
}

/** Bytes of names and values of a call's metadata; a call with more is reset (RFC 9113, 6.5.2). */
const METADATA_BYTES_MAX = 65_535;

/**
 * A grpc-js server whose streams and connections take `windowBytes` before the client must wait.
 * @throws SaladError INTERNAL where grpc-js has changed inside: a server without these limits must not start
 */
export function createServerWithWindow(
  options: ServerOptions,
  { windowBytes, handshakeTimeoutMs, onHttp2Server }: WindowOptions,
): Server {
  const server = new Server(options);
  const { common, create } = internalsOf(server);
  common.settings = {
    ...common.settings,
    initialWindowSize: windowBytes,
    maxHeaderListSize: METADATA_BYTES_MAX,
  };
  if (handshakeTimeoutMs !== undefined) common.handshakeTimeout = handshakeTimeoutMs;
  (server as unknown as ServerInternals).createHttp2Server = (...args) => {
    const http2Server = create.apply(server, args);
    http2Server.on('session', (session: ServerHttp2Session) => session.setLocalWindowSize(windowBytes));
    onHttp2Server?.(http2Server);
    return http2Server;
  };
  return server;
}

/** @throws SaladError INTERNAL */
export function internalsOf(server: object) {
  const { commonServerOptions: common, createHttp2Server: create } = server as ServerInternals;
  if (common === undefined || create === undefined) {
    throw new SaladError(
      'INTERNAL',
      'this version of @grpc/grpc-js is not supported: its servers take no limits',
    );
  }
  return { common, create };
}
