/** One client connection, from its acceptance to its close. Every state of a connection has a time limit. */
import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { ConnectionConfig } from '../../config/sections/connections.js';
import { closeSession } from '../../limits/close-session.js';
import type { Logger } from '../../telemetry/logger.js';

export interface ConnectionLimits {
  readonly config: ConnectionConfig;
  /** Longest time for a client to close its half of a stream or of a connection that has ended, in ms. */
  readonly lingerMs: number;
}

/** From the first GOAWAY until new streams are refused: streams that are on their way are still accepted. */
const GOAWAY_NOTICE_MS = 1000;
/** Shortest interval between pings to a client that sends: the answer shows whether its session still works. */
const PROBE_INTERVAL_MS = 1000;
/** Tolerated number of pings in a row that are too early, as in gRPC's own servers (proposal A8). */
const EARLY_PINGS_MAX = 2;
/** Bytes of the answer to a ping (RFC 9113, 6.7) as a socket counts them, with TLS too: those after decryption. */
const PONG_BYTES = 17;
/** Most pings without an answer: below Node's limit of 10, above which it sends none. */
const PENDING_PINGS_MAX = 8;
/** Bytes of the answer to a ping and of a ping of the server: 17 each, and with TLS about twice as many. */
const PING_TRAFFIC_BYTES = 128;
/** A GOAWAY with this stream id announces the close and refuses no stream (RFC 9113, 6.8). */
const LAST_STREAM_ID = 2 ** 31 - 1;

export class Connection {
  private readonly openedAt: number;
  /** Up to a tenth more or less than configured, so that clients do not all connect again at the same time. */
  private readonly maxAgeMs: number;
  private streamCount = 0;
  private idleSince: number;
  private hasPreface = false;
  private goawayAt: number | undefined;
  /** Time from which on both sides only have to close. */
  private closableSince: number | undefined;

  private bytesRead = 0;
  /** Time of the last check that found new received bytes. */
  private receivedAt: number;
  private pingedAt = Number.NEGATIVE_INFINITY;
  private pendingPings = 0;
  private bytesWrittenAtPing = 0;
  /** Bytes read at the last ping, and of the answers since. Where more were read, the session may have failed since. */
  private bytesProbed = 0;

  private earlyPings = 0;
  private clientPingedAt = Number.NEGATIVE_INFINITY;
  private bytesWrittenAtClientPing = 0;

  constructor(
    private readonly socket: Socket,
    private readonly session: ServerHttp2Session,
    private readonly limits: ConnectionLimits,
    private readonly logger: Logger,
  ) {
    const now = performance.now();
    this.openedAt = now;
    this.idleSince = now;
    this.receivedAt = now;
    const { connectionMaxAgeMs, minPingIntervalMs } = limits.config;
    this.maxAgeMs =
      connectionMaxAgeMs === 0 ? Number.POSITIVE_INFINITY : connectionMaxAgeMs * (0.9 + Math.random() / 5);
    session.once('remoteSettings', () => {
      this.hasPreface = true;
    });
    session.on('stream', (stream: ServerHttp2Stream) => {
      this.streamCount += 1;
      stream.once('close', () => {
        this.streamCount -= 1;
        this.idleSince = performance.now();
      });
    });
    if (minPingIntervalMs > 0) session.on('ping', () => this.limitPings());
  }

  /** Applies the time limits. To be called often, after the event loop has read all received bytes. */
  check(now: number): void {
    if (this.socket.bytesRead !== this.bytesRead) {
      this.bytesRead = this.socket.bytesRead;
      this.receivedAt = now;
    }
    if (this.session.destroyed || (this.session.closed && this.streamCount === 0)) {
      this.closableSince ??= now;
      if (now - this.closableSince >= this.limits.lingerMs) this.destroy('the client did not close its half');
    } else if (!this.hasPreface && now - this.openedAt >= this.limits.config.connectTimeoutMs) {
      this.destroy('no HTTP/2 preface was received in time');
    } else {
      this.checkAge(now);
      this.checkPeer(now);
    }
  }

  /** Announces the close: running calls finish, and clients start new ones on another connection. */
  sendGoaway(): void {
    if (this.goawayAt !== undefined || this.session.closed || this.session.destroyed) return;
    this.goawayAt = performance.now();
    this.session.goaway(constants.NGHTTP2_NO_ERROR, LAST_STREAM_ID);
  }

  /** Refuses new calls, and closes the connection after the last running one. */
  close(): void {
    this.session.close();
  }

  /** @param reason for the log */
  destroy(reason: string): void {
    if (this.socket.destroyed) return;
    this.logger.debug({ peer: this.socket.remoteAddress, why: reason }, 'connection closed by the server');
    this.session.destroy();
    this.socket.destroy();
  }

  private checkAge(now: number): void {
    if (this.goawayAt !== undefined) {
      // Sends GOAWAY with the last accepted stream: clients open later streams again on another connection.
      if (now - this.goawayAt >= GOAWAY_NOTICE_MS) this.session.close();
      return;
    }
    const age = now - this.openedAt;
    const isIdle = this.streamCount === 0;
    if (isIdle && now - this.idleSince >= this.limits.config.connectionIdleMs) this.sendGoaway();
    else if (age >= this.maxAgeMs && (isIdle || age >= 2 * this.maxAgeMs)) this.sendGoaway();
  }

  /** Closes connections whose clients do not answer, and sessions that nghttp2 has stopped after an error. */
  private checkPeer(now: number): void {
    if (this.pendingPings > 0) {
      const silentSince = Math.max(this.pingedAt, this.receivedAt);
      if (this.isPingUnsent()) {
        this.destroy('the client caused an HTTP/2 connection error');
        return;
      }
      if (now - silentSince >= this.limits.config.keepaliveTimeoutMs) {
        this.destroy('the client did not answer a ping');
        return;
      }
    }
    // Also while an answer is missing: after an error that followed the ping, no answer would be read.
    const canProbe = this.bytesRead !== this.bytesProbed && this.pendingPings < PENDING_PINGS_MAX;
    const mustProbe = canProbe && now - this.pingedAt >= PROBE_INTERVAL_MS;
    const isSilent = this.pendingPings === 0 && now - this.receivedAt >= this.limits.config.keepaliveMs;
    if (mustProbe || isSilent) this.ping(now);
  }

  private ping(now: number): void {
    this.pendingPings += 1;
    this.pingedAt = now;
    this.bytesWrittenAtPing = this.socket.bytesWritten;
    this.bytesProbed = this.bytesRead;
    sendPing(this.session, () => {
      this.pendingPings -= 1;
      this.bytesProbed += PONG_BYTES;
    });
  }

  /**
   * After a connection error, such as a header field above 64 KiB, nghttp2 sends GOAWAY and then neither reads nor
   * writes, and Node reports nothing: the client would wait for ever, and its connection would count for ever
   * (nodejs/node#35218). Such a session never sends a ping: nothing is written although no write is in progress.
   */
  private isPingUnsent(): boolean {
    return this.socket.bytesWritten === this.bytesWrittenAtPing && pendingWriteBytes(this.socket) === 0;
  }

  /** Closes a connection whose client pings too often without receiving anything: it would occupy the processor. */
  private limitPings(): void {
    const now = performance.now();
    const { bytesWritten } = this.socket;
    // Clients that receive data send pings to measure the connection, as those of Go and Java do.
    const wasSentData = bytesWritten - this.bytesWrittenAtClientPing > PING_TRAFFIC_BYTES;
    const isTooSoon = !wasSentData && now - this.clientPingedAt < this.limits.config.minPingIntervalMs;
    this.earlyPings = isTooSoon ? this.earlyPings + 1 : 0;
    this.clientPingedAt = now;
    this.bytesWrittenAtClientPing = bytesWritten;
    if (this.earlyPings <= EARLY_PINGS_MAX) return;
    closeSession(this.session, 'too_many_pings');
  }
}

/** Node's HTTP/2 bypasses the socket's buffer: only the handle counts the bytes not yet written to the kernel. */
function pendingWriteBytes(socket: Socket): number | undefined {
  return (socket as { _handle?: { writeQueueSize?: number } })._handle?.writeQueueSize;
}

/** Sends a ping also on a closing session, whose streams still run: Node refuses to where `closed` is true. */
function sendPing(session: ServerHttp2Session, onAnswer: () => void): void {
  const open = session.closed
    ? (Object.create(session, { closed: { value: false } }) as ServerHttp2Session)
    : session;
  const onEnd = (error: Error | null) => {
    if (error === null) onAnswer();
  };
  Reflect.apply(session.ping, open, [onEnd]);
}
