/**
 * Creates grpc-js servers with a larger receive window and with access to their HTTP/2 servers. grpc-js keeps HTTP/2's
 * receive window of 64 KiB, which allows 3.3 MB/s at a round trip of 20 ms. It has no options for this window, for the
 * timeout of TLS handshakes or for limits of connections, so this file uses two internals of its server: the HTTP/2
 * options (streams and handshakes), and the HTTP/2 servers it creates (connections).
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

export interface Http2Options {
  /** Receive window of each stream and of each connection. */
  readonly windowBytes: number;
  /** Longest TLS handshake. @default Node's, two minutes */
  readonly handshakeTimeoutMs?: number;
  /** Called with every HTTP/2 server before it listens. */
  readonly onHttp2Server?: (server: AnyHttp2Server) => void;
}

/** Most bytes of a call's metadata, names and values; a call with more is reset (RFC 9113, 6.5.2). */
const METADATA_BYTES_MAX = 65_535;

/** @throws SaladError INTERNAL where grpc-js's internals have changed: a server without these limits must not start */
export function createServer(
  options: ServerOptions,
  { windowBytes, handshakeTimeoutMs, onHttp2Server }: Http2Options,
): Server {
  const server = new Server(options);
  const { http2Options, createHttp2Server } = internalsOf(server);
  http2Options.settings = {
    ...http2Options.settings,
    initialWindowSize: windowBytes,
    maxHeaderListSize: METADATA_BYTES_MAX,
  };
  if (handshakeTimeoutMs !== undefined) http2Options.handshakeTimeout = handshakeTimeoutMs;
  (server as unknown as ServerInternals).createHttp2Server = (...args) => {
    const http2Server = createHttp2Server.apply(server, args);
    http2Server.on('session', (session: ServerHttp2Session) => session.setLocalWindowSize(windowBytes));
    onHttp2Server?.(http2Server);
    return http2Server;
  };
  return server;
}

/** @throws SaladError INTERNAL */
export function internalsOf(server: object) {
  const { commonServerOptions: http2Options, createHttp2Server } = server as ServerInternals;
  if (http2Options === undefined || createHttp2Server === undefined) {
    throw new SaladError(
      'INTERNAL',
      'this version of @grpc/grpc-js is not supported: connection limits cannot be applied to its servers',
    );
  }
  return { http2Options, createHttp2Server };
}
