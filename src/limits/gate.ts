/** What the port decides before grpc-js sees a connection or a stream: how many of a peer, and how often. */
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
import { addressKey } from './peer.js';
import type { Rates } from './rates.js';

export interface GateOptions {
  readonly maxConnections: number;
  /** Of connections; see `Shares`. */
  readonly peerShareRatio: number;
  readonly rates: Rates;
  readonly retryDelayMs: number;
  /** Told of every call that grpc-js never saw. */
  readonly onRefused?: (error: SaladError, peer: string) => void;
}

/** What a connection costs, in calls: its acceptance, handshake and settings. */
const CONNECTION_CALLS = 4;
/** A peer that owes more than this is not worth an answer: its connections are closed, new ones at once. */
const CLOSE_AT_MS = 500;
/** For a client to learn why its connection is closed. */
const CLOSE_MS = 250;
/** Longest path of a method that grpc-js is asked for: it repeats those it does not know. */
const PATH_MAX = 128;

export class Gate {
  private readonly connections: Shares;
  /** By the client's address and port. */
  private readonly sockets = new Map<string, Socket>();

  constructor(private readonly options: GateOptions) {
    this.connections = new Shares(options.maxConnections, options.peerShareRatio);
  }

  /** To be called for every HTTP/2 server of the port before it listens. */
  watch(server: Http2Server | Http2SecureServer): void {
    const emit = server.emit.bind(server) as (event: string | symbol, ...args: unknown[]) => boolean;
    // Not as one more listener: nothing may be made of what is not let in.
    server.on('session', (session: Http2Session) => this.countStreams(session));
    server.emit = (event: string | symbol, ...args: unknown[]) => {
      if (event === 'connection' && !this.letsConnect(args[0] as Socket)) return true;
      if (event === 'stream' && !this.letsBegin(args[0] as ServerHttp2Stream, args[1] as Headers))
        return true;
      return emit(event, ...args);
    };
  }

  private letsConnect(socket: Socket): boolean {
    const peer = addressKey(socket.remoteAddress);
    const owedMs = this.options.rates.take(peer, CONNECTION_CALLS);
    if (owedMs > CLOSE_AT_MS || !this.connections.take(peer, 1)) {
      socket.destroy();
      return false;
    }
    const name = nameOf(socket);
    this.sockets.set(name, socket);
    socket.once('close', () => {
      this.connections.give(peer, 1);
      this.sockets.delete(name);
    });
    return true;
  }

  /** Those, too, that are reset before anybody sees them. */
  private countStreams(session: Http2Session): void {
    const peer = addressKey(session.socket.remoteAddress);
    session.on('stream', () => {
      if (this.options.rates.take(peer) > CLOSE_AT_MS) this.close(session);
    });
  }

  private letsBegin(stream: ServerHttp2Stream, headers: Headers): boolean {
    const { session } = stream;
    if (session === undefined || session.destroyed || stream.destroyed) return false;
    const peer = addressKey(session.socket.remoteAddress);
    const error = this.errorOf(peer, headers);
    if (error === undefined) return true;
    this.options.onRefused?.(error, peer);
    this.refuse(stream, error);
    return false;
  }

  private errorOf(peer: string, headers: Headers): SaladError | undefined {
    const owedMs = this.options.rates.owedMs(peer);
    if (owedMs > 0) {
      return new SaladError('QUOTA_EXCEEDED', TOO_MANY_CALLS, { retryAfterMs: Math.ceil(owedMs) });
    }
    if (!TIMEOUT.test(headers['grpc-timeout'] ?? '1S')) return new SaladError('MESSAGE_INVALID', BAD_TIMEOUT);
    const pathLength = headers[':path']?.length ?? 0;
    return pathLength > PATH_MAX ? new SaladError('UNIMPLEMENTED', UNKNOWN_METHOD) : undefined;
  }

  private close(session: Http2Session): void {
    if (session.destroyed) return;
    const socket = this.sockets.get(nameOf(session.socket));
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, undefined, Buffer.from('too_many_calls'));
    session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    // Node waits for the client to take the GOAWAY, for ever where that goes on sending.
    setTimeout(() => socket?.destroy(), CLOSE_MS).unref();
  }

  private refuse(stream: ServerHttp2Stream, error: SaladError): void {
    const { code, details, metadata } = toServiceError(error, this.options.retryDelayMs);
    stream.on('error', () => {});
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
    // What it goes on sending is dropped, and its place in the connection free soon.
    stream.resume();
    stream.close(constants.NGHTTP2_NO_ERROR);
  }
}

type Headers = { readonly ':path'?: string; readonly 'grpc-timeout'?: string };

/** What grpc-js takes; it repeats what it does not. */
const TIMEOUT = /^\d{1,8}\s*[HMSmun]$/;

const TOO_MANY_CALLS = 'more calls in a second than one peer may make';
const BAD_TIMEOUT = 'grpc-timeout: must be up to eight digits and one of H, M, S, m, u, n';
const UNKNOWN_METHOD = 'the server has no such method';

function nameOf({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${remoteAddress} ${remotePort}`;
}
