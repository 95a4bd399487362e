/** One client connection, from its acceptance to its close: every state it can be in has a limit of time. */
import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Logger } from '../../telemetry/logger.js';

/** All in ms. */
export interface ConnectionTimes {
  /** From the acceptance to the HTTP/2 preface. */
  readonly prefaceMs: number;
  /** Without a call. */
  readonly idleMs: number;
  /** GOAWAY at this age, as soon as no call runs, or at twice this age. 0 means never. */
  readonly maxAgeMs: number;
  /** Silence after which the client is pinged. */
  readonly keepaliveMs: number;
  /** A client that sends nothing for this long after a ping is lost. */
  readonly keepaliveTimeoutMs: number;
  /** For the client to close its half once the last stream is over and the server has closed its own. */
  readonly closeMs: number;
  /** A client that pings sooner than this, with nothing sent to it, is warned; 0 means any. */
  readonly minPingIntervalMs: number;
}

/** Between the announcement and the end of new streams: time for streams that are on their way. */
const GOAWAY_MS = 1000;
/** Soonest next ping to a client that sends: it shows whether its session still works. */
const PROBE_MS = 1000;
/** Pings too soon that are tolerated; the number of gRPC's own servers (proposal A8). */
const PING_STRIKES = 2;
/** On the wire an answer to a ping and a ping of ours take 17 bytes each, and with TLS about as many again. */
const PINGS_BYTES = 128;
/** A GOAWAY with this stream id announces the end and refuses no stream (RFC 9113, 6.8). */
const LAST_STREAM_ID = 2 ** 31 - 1;

export class Connection {
  private readonly openedAt: number;
  /** Of this connection: a tenth more or less than configured, so that clients do not come back all at once. */
  private readonly maxAgeMs: number;
  private streams = 0;
  private idleSince: number;
  private hasPreface = false;
  private goawayAt: number | undefined;
  /** Since when both sides have nothing left to do but to close. */
  private overSince: number | undefined;

  private bytesRead = 0;
  private heardAt: number;
  private pingedAt = Number.NEGATIVE_INFINITY;
  private pingPending = false;
  private bytesWrittenAtPing = 0;
  /** Bytes read when the last ping was answered. */
  private bytesReadAtAnswer = 0;

  private strikes = 0;
  private clientPingedAt = Number.NEGATIVE_INFINITY;
  private bytesWrittenAtClientPing = 0;

  constructor(
    private readonly socket: Socket,
    private readonly session: ServerHttp2Session,
    private readonly times: ConnectionTimes,
    private readonly logger: Logger,
  ) {
    const now = performance.now();
    this.openedAt = now;
    this.idleSince = now;
    this.heardAt = now;
    this.maxAgeMs =
      times.maxAgeMs === 0 ? Number.POSITIVE_INFINITY : times.maxAgeMs * (0.9 + Math.random() / 5);
    session.once('remoteSettings', () => {
      this.hasPreface = true;
    });
    session.on('stream', (stream: ServerHttp2Stream) => {
      this.streams += 1;
      stream.once('close', () => {
        this.streams -= 1;
        this.idleSince = performance.now();
      });
    });
    if (times.minPingIntervalMs > 0) session.on('ping', () => this.limitPings());
  }

  /** Applies the limits of time. To be called often, after the event loop has read what came. */
  check(now: number): void {
    if (this.socket.bytesRead !== this.bytesRead) {
      this.bytesRead = this.socket.bytesRead;
      this.heardAt = now;
    }
    if (this.session.destroyed || (this.session.closed && this.streams === 0)) {
      this.overSince ??= now;
      if (now - this.overSince >= this.times.closeMs) this.destroy('the client did not close its half');
    } else if (!this.hasPreface && now - this.openedAt >= this.times.prefaceMs) {
      this.destroy('no HTTP/2 preface came');
    } else {
      this.checkAge(now);
      this.checkPeer(now);
    }
  }

  /** Announces the end: running calls finish, new ones are to go to another connection. */
  sendGoaway(): void {
    if (this.goawayAt !== undefined || this.session.closed || this.session.destroyed) return;
    this.goawayAt = performance.now();
    this.session.goaway(constants.NGHTTP2_NO_ERROR, LAST_STREAM_ID);
  }

  /** Takes no further call; ends the connection after the last one. */
  close(): void {
    this.session.close();
  }

  destroy(why: string): void {
    if (this.socket.destroyed) return;
    this.logger.debug({ peer: this.socket.remoteAddress, why }, 'connection closed by the server');
    this.session.destroy();
    this.socket.destroy();
  }

  private checkAge(now: number): void {
    if (this.goawayAt !== undefined) {
      // GOAWAY with the last stream taken: clients open those after it anew, elsewhere.
      if (now - this.goawayAt >= GOAWAY_MS) this.session.close();
      return;
    }
    const age = now - this.openedAt;
    const isIdle = this.streams === 0;
    if (isIdle && now - this.idleSince >= this.times.idleMs) this.sendGoaway();
    else if (age >= this.maxAgeMs && (isIdle || age >= 2 * this.maxAgeMs)) this.sendGoaway();
  }

  /** Finds clients that vanished, and sessions that nghttp2 has given up. */
  private checkPeer(now: number): void {
    if (this.pingPending) {
      const silentSince = Math.max(this.pingedAt, this.heardAt);
      if (this.isPingUnsent()) this.destroy('a connection error of the client');
      else if (now - silentSince >= this.times.keepaliveTimeoutMs) this.destroy('the client answers no ping');
      return;
    }
    const sends = this.bytesRead !== this.bytesReadAtAnswer && now - this.pingedAt >= PROBE_MS;
    if (sends || now - this.heardAt >= this.times.keepaliveMs) this.ping(now);
  }

  private ping(now: number): void {
    this.pingPending = true;
    this.pingedAt = now;
    this.bytesWrittenAtPing = this.socket.bytesWritten;
    pingOf(this.session, () => {
      this.pingPending = false;
      this.bytesReadAtAnswer = this.socket.bytesRead;
    });
  }

  /**
   * After a connection error, such as a header field above 64 KiB, nghttp2 sends GOAWAY and then neither reads nor
   * writes, and Node reports nothing: the client would wait for ever, and its connection would keep its place
   * (nodejs/node#35218). Such a session never sends a ping: nothing is written although no write is in progress.
   */
  private isPingUnsent(): boolean {
    return this.socket.bytesWritten === this.bytesWrittenAtPing && bytesBeingWritten(this.socket) === 0;
  }

  /** A client that pings with nothing to wait for keeps a connection and a CPU busy. */
  private limitPings(): void {
    const now = performance.now();
    const written = this.socket.bytesWritten;
    // Clients that are sent something ping to measure the line, as those of Go and Java do.
    const isAnswered = written - this.bytesWrittenAtClientPing > PINGS_BYTES;
    const isTooSoon = !isAnswered && now - this.clientPingedAt < this.times.minPingIntervalMs;
    this.strikes = isTooSoon ? this.strikes + 1 : 0;
    this.clientPingedAt = now;
    this.bytesWrittenAtClientPing = written;
    if (this.strikes <= PING_STRIKES) return;
    this.session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, undefined, Buffer.from('too_many_pings'));
    this.session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }
}

/** HTTP/2 writes past the socket's own buffer; only its handle knows what the kernel has not taken. */
function bytesBeingWritten(socket: Socket): number | undefined {
  return (socket as { _handle?: { writeQueueSize?: number } })._handle?.writeQueueSize;
}

/** Node refuses to ping on a session that is closing, while its streams go on: `closed` reads false here. */
function pingOf(session: ServerHttp2Session, onAnswer: () => void): void {
  const open = session.closed
    ? (Object.create(session, { closed: { value: false } }) as ServerHttp2Session)
    : session;
  const onEnd = (error: Error | null) => {
    if (error === null) onAnswer();
  };
  Reflect.apply(session.ping, open, [onEnd]);
}
