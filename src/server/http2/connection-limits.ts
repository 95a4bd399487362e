/** The connections of a port: their limits, and their end. */
import type { Http2SecureServer, Http2Server, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { ServerOptions } from '@grpc/grpc-js';
import type { ServeConfig } from '../../config/schema.js';
import type { Logger } from '../../telemetry/logger.js';
import { afterReading } from '../../wire/silence-timer.js';
import { Connection, type ConnectionTimes } from './connection.js';
import { superviseStream } from './stream-end.js';

export interface ConnectionsOptions extends ConnectionTimes {
  /** Most connections of each address that is listened on. */
  readonly maxConnections: number;
  /** A stream whose status is decided is reset after this long, in ms. */
  readonly lingerMs: number;
  readonly logger: Logger;
}

const STREAMS_MIN = 100;
/** Longest time for a client to close its half of a stream or of a connection that is over. */
const LINGER_MS = 5000;
/** Connections made during the drain get GOAWAY after this long, so that a call on them gets its answer before. */
const LATE_GOAWAY_MS = 500;
const CHECK_MS_MAX = 250;
const CHECK_MS_MIN = 10;

/** The limits that grpc-js has options for. */
export function connectionOptions(config: ServeConfig): ServerOptions {
  return {
    // Above the limit of calls, so that one too many is refused with an error of ours; bounds streams whose client
    // has its status and never closes them. Node counts streams that are over but not yet gone, and resets one
    // too many without a status: never fewer than RFC 9113 (6.5.2) recommends.
    'grpc.max_concurrent_streams': Math.max(STREAMS_MIN, 2 * config.maxConcurrentAcquisitions),
  };
}

export function connectionsOptions(config: ServeConfig, logger: Logger): ConnectionsOptions {
  return {
    maxConnections: config.maxConnections,
    prefaceMs: config.connectTimeoutMs,
    idleMs: config.connectionIdleMs,
    maxAgeMs: config.connectionMaxAgeMs,
    keepaliveMs: config.keepaliveMs,
    keepaliveTimeoutMs: config.keepaliveTimeoutMs,
    minPingIntervalMs: config.minPingIntervalMs,
    closeMs: Math.min(LINGER_MS, config.idleTimeoutMs),
    lingerMs: Math.min(LINGER_MS, config.idleTimeoutMs),
    logger,
  };
}

export class Connections {
  /** Accepted sockets, in their TLS handshake too. */
  private readonly sockets = new Set<Socket>();
  private readonly open = new Set<Connection>();
  private readonly timer: NodeJS.Timeout;
  private draining = false;
  private onEmpty: (() => void) | undefined;

  constructor(private readonly options: ConnectionsOptions) {
    const times = [
      options.prefaceMs,
      options.idleMs,
      options.keepaliveMs,
      options.keepaliveTimeoutMs,
      options.closeMs,
    ];
    if (options.maxAgeMs > 0) times.push(options.maxAgeMs);
    const everyMs = Math.min(CHECK_MS_MAX, Math.max(CHECK_MS_MIN, Math.min(...times) / 4));
    this.timer = setInterval(() => afterReading(() => this.check()), everyMs).unref();
  }

  /** To be called for every HTTP/2 server of the port before it listens. */
  watch(server: Http2Server | Http2SecureServer): void {
    server.maxConnections = this.options.maxConnections;
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.once('close', () => {
        this.sockets.delete(socket);
        if (this.sockets.size === 0) this.onEmpty?.();
      });
    });
    // Node makes the session of a socket in its own listener of this event, so 'session' comes right after this.
    let accepted: Socket | undefined;
    const event = 'setSecureContext' in server ? 'secureConnection' : 'connection';
    server.prependListener(event, (socket: Socket) => {
      accepted = socket;
    });
    server.on('session', (session: ServerHttp2Session) => {
      if (accepted !== undefined) this.add(accepted, session);
    });
    // Before grpc-js reads the headers.
    server.prependListener('stream', (stream: ServerHttp2Stream, headers) => {
      superviseStream(stream, headers, this.options.lingerMs);
    });
  }

  /** GOAWAY to all connections, and soon to those that come from now on. */
  drain(): void {
    this.draining = true;
    for (const connection of this.open) connection.sendGoaway();
  }

  /** Closes all connections, by force those that are not closed after `timeoutMs`. */
  async close(timeoutMs: number): Promise<void> {
    for (const connection of this.open) connection.close();
    if (this.sockets.size > 0) {
      await new Promise<void>((resolve) => {
        this.onEmpty = resolve;
        setTimeout(resolve, timeoutMs);
      });
    }
    clearInterval(this.timer);
    for (const connection of this.open) connection.destroy('the server stops');
    for (const socket of this.sockets) socket.destroy();
  }

  private add(socket: Socket, session: ServerHttp2Session): void {
    const connection = new Connection(socket, session, this.options, this.options.logger);
    this.open.add(connection);
    socket.once('close', () => this.open.delete(connection));
    if (this.draining) setTimeout(() => connection.sendGoaway(), LATE_GOAWAY_MS).unref();
  }

  private check(): void {
    const now = performance.now();
    for (const connection of this.open) connection.check(now);
  }
}
