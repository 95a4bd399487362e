/**
 * grpc-js's server keeps HTTP/2's 64 KiB receive window: 3.3 MB/s at 20 ms round trip. It offers no option, so
 * this file reaches into two of its internals: the http2 settings, for streams, and the http2 servers it makes,
 * for connections. A test fails when a new version no longer has them.
 */
import type { Http2Server, ServerHttp2Session } from 'node:http2';
import { Server, type ServerOptions } from '@grpc/grpc-js';

interface ServerInternals {
  commonServerOptions?: { settings?: { initialWindowSize?: number } };
  createHttp2Server?: (...args: unknown[]) => Http2Server;
}

/** A grpc-js server whose streams and connections take `windowBytes` before the client must wait. */
export function createServerWithWindow(options: ServerOptions, windowBytes: number): Server {
  const server = new Server(options);
  const internals = server as unknown as ServerInternals;
  const common = internals.commonServerOptions;
  const create = internals.createHttp2Server;
  // Without them the server works as before, only slower over long distances.
  if (common === undefined || create === undefined) return server;
  common.settings = { ...common.settings, initialWindowSize: windowBytes };
  internals.createHttp2Server = function createHttp2Server(...args: unknown[]) {
    const http2Server = create.apply(server, args);
    http2Server.on('session', (session: ServerHttp2Session) => session.setLocalWindowSize(windowBytes));
    return http2Server;
  };
  return server;
}
