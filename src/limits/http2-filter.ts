/**
 * Refuses connections and streams before grpc-js handles them: by their number and rate for each peer. Streams are handed
 * to grpc-js in turns of `TurnScheduler`: of very many that arrive at once, those that are reset again cost little.
 */
import {
  constants,
  type Http2SecureServer,
  type Http2Server,
  type Http2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { Shares } from '../acquisition/index.js';
import { SaladError } from '../errors/index.js';
import { toServiceError } from '../wire/status.js';
import { closeSession, isClosing } from './close-session.js';
import { addressKey } from './peer-key.js';
import type { RateLimiter } from './rate-limiter.js';
import type { TurnScheduler } from './turn-scheduler.js';

export interface Http2FilterOptions {
  readonly maxConnections: number;
  /** Applies to connections; see `Shares`. */
  readonly peerShareRatio: number;
  /** Calls a second, by address. */
  readonly rateLimiter: RateLimiter;
  readonly scheduler: TurnScheduler;
  readonly retryDelayMs: number;
  /** Called for every refused call: grpc-js does not see these calls. */
  readonly onRefused?: (error: SaladError, peer: string) => void;
}

/** Cost of a connection (acceptance, handshake and settings), in calls. */
const CONNECTION_COST_CALLS = 4;
/** A peer whose next call would be allowed only after more than this gets no answers: its connections are closed. */
const CLOSE_ABOVE_MS = 500;
/** Time for a client to read the GOAWAY of its connection. */
const GOAWAY_READ_MS = 250;
/** Longest method path that grpc-js sees: it repeats unknown paths in its answers. */
const PATH_LENGTH_MAX = 128;
/** The timeouts that grpc-js accepts; it repeats any other value in its answer. */
const TIMEOUT_PATTERN = /^\d{1,8}\s*[HMSmun]$/;

interface RequestHeaders {
  readonly ':path'?: string;
  readonly 'grpc-timeout'?: string;
}

export class Http2Filter {
  private readonly connections: Shares;
  /** Open sockets by the client's address and port. */
  private readonly sockets = new Map<string, Socket>();

  constructor(private readonly options: Http2FilterOptions) {
    this.connections = new Shares(options.maxConnections, options.peerShareRatio);
  }

  /** To be called for every HTTP/2 server of the port before it listens. */
  watch(server: Http2Server | Http2SecureServer): void {
    const emit = server.emit.bind(server) as (event: string | symbol, ...args: unknown[]) => boolean;
    server.on('session', (session: Http2Session) => this.limitStreamRate(session));
    // A listener could not keep other listeners from handling a refused connection or stream, so `emit` is replaced.
    server.emit = (event: string | symbol, ...args: unknown[]) => {
      if (event === 'connection' && !this.admitConnection(args[0] as Socket)) return true;
      if (event !== 'stream') return emit(event, ...args);
      this.acceptStream(args[0] as ServerHttp2Stream, args[1] as RequestHeaders, () => emit(event, ...args));
      return true;
    };
  }

  /** @returns false where the socket was destroyed */
  private admitConnection(socket: Socket): boolean {
    const peer = addressKey(socket.remoteAddress);
    const excessMs = this.options.rateLimiter.record(peer, CONNECTION_COST_CALLS);
    if (excessMs > CLOSE_ABOVE_MS || !this.connections.acquire(peer, 1)) {
      socket.destroy();
      return false;
    }
    const key = socketKey(socket);
    this.sockets.set(key, socket);
    socket.once('close', () => {
      this.connections.release(peer, 1);
      this.sockets.delete(key);
    });
    return true;
  }

  /** Counts every stream of the session, also streams that are reset before the server emits 'stream'. */
  private limitStreamRate(session: Http2Session): void {
    const peer = addressKey(session.socket.remoteAddress);
    session.on('stream', () => {
      if (this.options.rateLimiter.record(peer) > CLOSE_ABOVE_MS) this.close(session);
    });
  }

  /** @param serve hands the stream to grpc-js */
  private acceptStream(stream: ServerHttp2Stream, headers: RequestHeaders, serve: () => void): void {
    const { session } = stream;
    // A stream that waits may be reset, and one of a session that closes is destroyed with it.
    stream.on('error', () => {});
    if (session === undefined || session.destroyed || isClosing(session)) return;
    const peer = addressKey(session.socket.remoteAddress);
    // Now: calls that arrive while it waits must not count against it.
    const excessMs = this.options.rateLimiter.excessMs(peer);
    this.options.scheduler.run(peer, () => {
      if (stream.destroyed || stream.closed || isClosing(session)) return;
      const error = errorOf(headers, excessMs);
      if (error === undefined) return serve();
      this.options.onRefused?.(error, peer);
      this.refuse(stream, error);
    });
  }

  private close(session: Http2Session): void {
    if (!closeSession(session, 'too_many_calls')) return;
    const socket = this.sockets.get(socketKey(session.socket));
    // Node waits until the client has read the GOAWAY: without this, for ever where the client only sends.
    setTimeout(() => socket?.destroy(), GOAWAY_READ_MS).unref();
  }

  private refuse(stream: ServerHttp2Stream, error: SaladError): void {
    const { code, details, metadata } = toServiceError(error, this.options.retryDelayMs);
    stream.respond(
      {
        ':status': 200,
        'content-type': 'application/grpc+proto',
        'grpc-status': code,
        'grpc-message': encodeURI(details),
        ...metadata.toHttp2Headers(),
      },
      { endStream: true },
    );
    // Drops what the client still sends, so that the stream closes soon and the connection may open another.
    stream.resume();
    // Later, because Node 22 drops the answer of a stream that is closed in the same turn.
    setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
  }
}

function socketKey({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${remoteAddress} ${remotePort}`;
}

function errorOf(headers: RequestHeaders, excessMs: number): SaladError | undefined {
  if (excessMs > 0) {
    const message = 'this address makes more calls a second than one peer may make';
    return new SaladError('QUOTA_EXCEEDED', message, { retryAfterMs: Math.ceil(excessMs) });
  }
  if (!TIMEOUT_PATTERN.test(headers['grpc-timeout'] ?? '1S')) {
    const message = 'grpc-timeout: must be up to eight digits and one of H, M, S, m, u, n';
    return new SaladError('MESSAGE_INVALID', message);
  }
  const pathLength = headers[':path']?.length ?? 0;
  if (pathLength <= PATH_LENGTH_MAX) return undefined;
  return new SaladError('UNIMPLEMENTED', 'the server has no such method');
}
