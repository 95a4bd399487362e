/**
 * How much all streams together may send before it is read. HTTP/2 bounds a stream only: a thousand streams with the
 * window that one needs for full speed over a long distance would be gigabytes. So the more streams there are, the
 * smaller their windows; every connection is told with SETTINGS.
 */
import {
  constants,
  type Http2SecureServer,
  type Http2Server,
  type Http2Session,
  type ServerHttp2Stream,
} from 'node:http2';

export interface ReceiveWindowsOptions {
  /** Of one stream, where few are open. */
  readonly windowBytes: number;
  /** Of all streams together, in the long run. @default 128 MiB */
  readonly totalBytes?: number;
}

const TOTAL_BYTES = 128 * 1024 * 1024;
/** HTTP/2's own. */
const WINDOW_BYTES_MIN = 65_535;
/** How often is looked for clients that send more than they were told. */
const CHECK_MS = 50;
/** What a client may still send that has not seen its new window: what is on the way, and its own reading. */
const TOLERANCE = 2;

interface Watched {
  readonly streams: Set<ServerHttp2Stream>;
}

export class ReceiveWindows {
  private readonly sessions = new Map<Http2Session, Watched>();
  private streams = 0;
  private readonly totalBytes: number;
  private current: number;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: ReceiveWindowsOptions) {
    this.totalBytes = options.totalBytes ?? TOTAL_BYTES;
    this.current = options.windowBytes;
  }

  /** Window of a stream, in bytes, as connections are told now. */
  get windowBytes(): number {
    return this.current;
  }

  /** To be called for every HTTP/2 server of the port before it listens. */
  watch(server: Http2Server | Http2SecureServer): void {
    server.on('session', (session: Http2Session) => this.addSession(session));
    server.on('stream', (stream: ServerHttp2Stream) => this.addStream(stream));
  }

  private addSession(session: Http2Session): void {
    this.sessions.set(session, { streams: new Set() });
    session.once('close', () => this.sessions.delete(session));
    // It began with the window for few streams.
    if (this.current !== this.options.windowBytes) this.tell(session);
  }

  private addStream(stream: ServerHttp2Stream): void {
    const session = stream.session === undefined ? undefined : this.sessions.get(stream.session);
    if (session === undefined || stream.closed) return;
    session.streams.add(stream);
    this.streams += 1;
    this.adjust();
    stream.once('close', () => {
      session.streams.delete(stream);
      this.streams -= 1;
      this.adjust();
    });
  }

  /** Halves and doubles: not a message to everybody for each stream. */
  private adjust(): void {
    const { windowBytes } = this.options;
    const fair = this.totalBytes / Math.max(1, this.streams);
    let next = this.current;
    while (next > WINDOW_BYTES_MIN && next > fair) next = Math.max(WINDOW_BYTES_MIN, Math.floor(next / 2));
    // Not until there are far fewer streams: their number goes up and down.
    while (next < windowBytes && 4 * next <= fair) next = Math.min(windowBytes, next * 2);
    if (next === this.current) return;
    this.current = next;
    for (const session of this.sessions.keys()) this.tell(session);
    if (next < windowBytes) this.timer ??= setInterval(() => this.check(), CHECK_MS).unref();
    else {
      clearInterval(this.timer);
      this.timer = undefined;
    }
  }

  private tell(session: Http2Session): void {
    if (session.destroyed || session.closed) return;
    try {
      session.settings({ initialWindowSize: this.current });
    } catch {
      // It has not acknowledged the ten before: whether it keeps to them is looked at.
    }
  }

  /** Closes connections whose clients do not keep to their windows, where all together are above the total. */
  private check(): void {
    const held = new Map<Http2Session, number>();
    let total = 0;
    for (const [session, { streams }] of this.sessions) {
      let bytes = 0;
      for (const stream of streams) bytes += stream.readableLength;
      held.set(session, bytes);
      total += bytes;
    }
    if (total <= this.totalBytes) return;
    for (const [session, bytes] of held) {
      const allowed = TOLERANCE * this.current * (this.sessions.get(session)?.streams.size ?? 0);
      if (bytes <= allowed) continue;
      session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, undefined, Buffer.from('window_not_kept'));
      session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    }
  }
}
