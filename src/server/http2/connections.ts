/** All connections of a port: applies their limits, and closes them when the server stops. */
import type { Http2SecureServer, Http2Server, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { ServerOptions } from '@grpc/grpc-js';
import type { AdmissionConfig } from '../../config/sections/admission.js';
import type { CallConfig } from '../../config/sections/calls.js';
import type { ConnectionConfig } from '../../config/sections/connections.js';
import type { Logger } from '../../telemetry/logger.js';
import { afterReading } from '../../wire/silence-timer.js';
import { Connection, type ConnectionLimits } from './connection.js';
import { limitStream } from './stream-limits.js';

/** RFC 9113 (6.5.2) recommends no smaller limit of streams. */
const STREAMS_MIN = 100;
const LINGER_MS_MAX = 5000;
/** A connection opened during the drain gets GOAWAY after this time, so that a call on it is answered before. */
const LATE_GOAWAY_MS = 500;
const CHECK_INTERVAL_MS_MAX = 250;
const CHECK_INTERVAL_MS_MIN = 10;
/** Checks during the shortest of the time limits. */
const CHECKS_PER_LIMIT = 4;

/** The limit of streams of a connection, as an option of grpc-js. */
export function maxStreamsOption(config: AdmissionConfig): ServerOptions {
  return {
    // Above the limit of calls, so that a call above that limit is refused with a status. It limits the streams that
    // clients do not close after their status. Node also counts streams that have ended and are not closed yet, and
    // resets a stream above the limit without a status, so it is never below the recommended minimum.
    'grpc.max_concurrent_streams': Math.max(STREAMS_MIN, 2 * config.maxConcurrentAcquisitions),
  };
}

export function connectionLimits(config: ConnectionConfig & CallConfig): ConnectionLimits {
  return { config, lingerMs: Math.min(LINGER_MS_MAX, config.idleTimeoutMs) };
}

export class Connections {
  /** Accepted sockets, including those in their TLS handshake. */
  private readonly sockets = new Set<Socket>();
  private readonly open = new Set<Connection>();
  private readonly timer: NodeJS.Timeout;
  private isDraining = false;
  private onEmpty: (() => void) | undefined;

  constructor(
    private readonly limits: ConnectionLimits,
    private readonly logger: Logger,
  ) {
    const { connectTimeoutMs, connectionIdleMs, connectionMaxAgeMs, keepaliveMs, keepaliveTimeoutMs } =
      limits.config;
    const times = [connectTimeoutMs, connectionIdleMs, keepaliveMs, keepaliveTimeoutMs, limits.lingerMs];
    if (connectionMaxAgeMs > 0) times.push(connectionMaxAgeMs);
    const shortestMs = Math.min(...times) / CHECKS_PER_LIMIT;
    const intervalMs = Math.min(CHECK_INTERVAL_MS_MAX, Math.max(CHECK_INTERVAL_MS_MIN, shortestMs));
    this.timer = setInterval(() => afterReading(() => this.check()), intervalMs).unref();
  }

  /** To be called for every HTTP/2 server of the port before it listens. */
  watch(server: Http2Server | Http2SecureServer): void {
    // Of each address that the port listens on.
    server.maxConnections = this.limits.config.maxConnections;
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.once('close', () => {
        this.sockets.delete(socket);
        if (this.sockets.size === 0) this.onEmpty?.();
      });
    });
    // Node creates the session of a socket in its own listener of this event, so 'session' follows at once.
    let acceptedSocket: Socket | undefined;
    const event = 'setSecureContext' in server ? 'secureConnection' : 'connection';
    server.prependListener(event, (socket: Socket) => {
      acceptedSocket = socket;
    });
    server.on('session', (session: ServerHttp2Session) => {
      if (acceptedSocket !== undefined) this.add(acceptedSocket, session);
    });
    // Must run before grpc-js reads the headers.
    server.prependListener('stream', (stream: ServerHttp2Stream, headers) => {
      limitStream(stream, headers, this.limits.lingerMs);
    });
  }

  /** Sends GOAWAY to all connections, and after a moment to each that is opened from now on. */
  drain(): void {
    this.isDraining = true;
    for (const connection of this.open) connection.sendGoaway();
  }

  /** Closes all connections; after `timeoutMs` by force. */
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
    const connection = new Connection(socket, session, this.limits, this.logger);
    this.open.add(connection);
    socket.once('close', () => this.open.delete(connection));
    if (this.isDraining) setTimeout(() => connection.sendGoaway(), LATE_GOAWAY_MS).unref();
  }

  private check(): void {
    const now = performance.now();
    for (const connection of this.open) connection.check(now);
  }
}
