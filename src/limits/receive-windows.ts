/**
 * Limits the bytes that all streams together may send before the server reads them. HTTP/2 limits each stream only: a
 * thousand streams, each with the window that full speed over a long distance needs, would be gigabytes. So windows
 * become smaller the more streams are open; every connection gets the new size in SETTINGS.
 */
import type { Http2SecureServer, Http2Server, Http2Session, ServerHttp2Stream } from 'node:http2';
import { closeSession } from './close-session.js';

export interface ReceiveWindowsOptions {
  /** Window of one stream while few are open. */
  readonly windowBytes: number;
  /** Target for the windows of all streams together. @default 128 MiB */
  readonly totalBytes?: number;
}

const TOTAL_BYTES = 128 * 1024 * 1024;
/** HTTP/2's default window. */
const WINDOW_BYTES_MIN = 65_535;
const CHECK_INTERVAL_MS = 50;
/** How many times its window a client may have sent: it may not have read its new SETTINGS yet. */
const TOLERATED_WINDOWS = 2;
/** Windows grow only when the fair window is this many times larger, because the number of streams varies. */
const GROWTH_HYSTERESIS = 4;

export class ReceiveWindows {
  private readonly streamsBySession = new Map<Http2Session, Set<ServerHttp2Stream>>();
  private streamCount = 0;
  private readonly totalBytes: number;
  private currentBytes: number;
  private checkTimer: NodeJS.Timeout | undefined;

  constructor(private readonly options: ReceiveWindowsOptions) {
    this.totalBytes = options.totalBytes ?? TOTAL_BYTES;
    this.currentBytes = options.windowBytes;
  }

  /** To be called for every HTTP/2 server of the port before it listens. */
  watch(server: Http2Server | Http2SecureServer): void {
    server.on('session', (session: Http2Session) => this.addSession(session));
    server.on('stream', (stream: ServerHttp2Stream) => this.addStream(stream));
  }

  private addSession(session: Http2Session): void {
    this.streamsBySession.set(session, new Set());
    session.once('close', () => this.streamsBySession.delete(session));
    // The session has started with the window for few streams.
    if (this.currentBytes !== this.options.windowBytes) this.sendWindow(session);
  }

  private addStream(stream: ServerHttp2Stream): void {
    const streams = stream.session === undefined ? undefined : this.streamsBySession.get(stream.session);
    if (streams === undefined || stream.closed) return;
    streams.add(stream);
    this.streamCount += 1;
    this.adjustWindow();
    stream.once('close', () => {
      streams.delete(stream);
      this.streamCount -= 1;
      this.adjustWindow();
    });
  }

  /** Halves or doubles the window, so that most new streams cause no SETTINGS. */
  private adjustWindow(): void {
    const { windowBytes } = this.options;
    const fairBytes = this.totalBytes / Math.max(1, this.streamCount);
    let next = this.currentBytes;
    while (next > WINDOW_BYTES_MIN && next > fairBytes) {
      next = Math.max(WINDOW_BYTES_MIN, Math.floor(next / 2));
    }
    while (next < windowBytes && GROWTH_HYSTERESIS * next <= fairBytes) {
      next = Math.min(windowBytes, next * 2);
    }
    if (next === this.currentBytes) return;
    this.currentBytes = next;
    for (const session of this.streamsBySession.keys()) this.sendWindow(session);
    if (next < windowBytes) {
      this.checkTimer ??= setInterval(() => this.closeViolators(), CHECK_INTERVAL_MS).unref();
    } else {
      clearInterval(this.checkTimer);
      this.checkTimer = undefined;
    }
  }

  private sendWindow(session: Http2Session): void {
    if (session.destroyed || session.closed) return;
    try {
      session.settings({ initialWindowSize: this.currentBytes });
    } catch {
      // The client has not acknowledged the last ten SETTINGS. `closeViolators` finds it if it ignores them.
    }
  }

  /** Closes the connections whose clients exceed their windows, where all streams together exceed the total. */
  private closeViolators(): void {
    const unreadBytes = new Map<Http2Session, number>();
    let total = 0;
    for (const [session, streams] of this.streamsBySession) {
      let bytes = 0;
      for (const stream of streams) bytes += stream.readableLength;
      unreadBytes.set(session, bytes);
      total += bytes;
    }
    if (total <= this.totalBytes) return;
    for (const [session, bytes] of unreadBytes) {
      const streamCount = this.streamsBySession.get(session)?.size ?? 0;
      if (bytes <= TOLERATED_WINDOWS * this.currentBytes * streamCount) continue;
      closeSession(session, 'window_not_kept');
    }
  }
}
