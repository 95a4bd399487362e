/** HTTP/2 frames by hand over TCP: clients that do what no HTTP/2 library would. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { STREAM_PATH } from './raw-grpc.js';

export const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
const ACK = 1;
const END_STREAM = 1;
const END_HEADERS = 4;
const FRAME_BYTES_MAX = 16_384;
const INITIAL_WINDOW_SIZE = 4;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export interface RawConnectionOptions {
  /** What the server may send on a stream. */
  readonly windowBytes?: number;
  /** Whether pings are answered. @default true */
  readonly answersPings?: boolean;
  /** PEM text of the authority that the server's certificate comes from. @default plaintext */
  readonly ca?: string;
  /** Whether the socket stays half open when the server closes its side. @default false */
  readonly keepsHalfOpen?: boolean;
}

export class RawConnection {
  readonly frames: Frame[] = [];
  private buffered = Buffer.alloc(0);

  private constructor(
    readonly socket: Socket,
    private readonly answersPings: boolean,
  ) {
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => this.read(bytes));
  }

  /** TCP only: the client has said nothing yet. */
  static async open(address: string, options: RawConnectionOptions = {}): Promise<RawConnection> {
    const colon = address.lastIndexOf(':');
    const { ca } = options;
    const place = {
      host: address.slice(0, colon),
      port: Number(address.slice(colon + 1)),
      allowHalfOpen: options.keepsHalfOpen ?? false,
    };
    const socket =
      ca === undefined
        ? connect(place)
        : connectTls({ ...place, ca, servername: 'localhost', ALPNProtocols: ['h2'] });
    socket.setNoDelay(true);
    await once(socket, ca === undefined ? 'connect' : 'secureConnect');
    return new RawConnection(socket, options.answersPings ?? true);
  }

  /** Preface and settings, too. */
  static async connect(address: string, options: RawConnectionOptions = {}): Promise<RawConnection> {
    const connection = await RawConnection.open(address, options);
    connection.socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    const { windowBytes } = options;
    const setting = Buffer.alloc(windowBytes === undefined ? 0 : 6);
    if (windowBytes !== undefined) {
      setting.writeUInt16BE(INITIAL_WINDOW_SIZE);
      setting.writeUInt32BE(windowBytes, 2);
    }
    connection.send(FRAME.settings, 0, 0, setting);
    await connection.seen(({ type, flags }) => type === FRAME.settings && flags === 0);
    connection.send(FRAME.settings, ACK, 0);
    return connection;
  }

  send(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): void {
    this.socket.write(frameOf(type, flags, stream, payload));
  }

  /** A gRPC request's headers; none of the fields is compressed. */
  request(
    stream: number,
    path = STREAM_PATH,
    metadata: Readonly<Record<string, string>> = {},
    endStream = false,
  ): void {
    const fields = {
      ':method': 'POST',
      ':scheme': 'http',
      ':path': path,
      ':authority': 'localhost',
      te: 'trailers',
      'content-type': 'application/grpc',
      ...metadata,
    };
    const block = Buffer.concat(
      Object.entries(fields).flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]),
    );
    for (let at = 0; at < block.byteLength; at += FRAME_BYTES_MAX) {
      const isLast = at + FRAME_BYTES_MAX >= block.byteLength;
      const flags = (isLast ? END_HEADERS : 0) | (at === 0 && endStream ? END_STREAM : 0);
      const type = at === 0 ? FRAME.headers : FRAME.continuation;
      this.send(type, flags, stream, block.subarray(at, at + FRAME_BYTES_MAX));
    }
  }

  /** Bytes of a request; at most one frame of them. */
  data(stream: number, bytes: Uint8Array, endStream = false): void {
    this.send(FRAME.data, endStream ? END_STREAM : 0, stream, bytes);
  }

  /** Resolves with the first such frame, also one that came before. */
  async seen(matches: (frame: Frame) => boolean): Promise<Frame> {
    for (;;) {
      const found = this.frames.find(matches);
      if (found !== undefined) return found;
      if (this.socket.destroyed) throw new Error('the connection closed before such a frame came');
      await new Promise((resolve) => {
        this.socket.once('data', resolve);
        this.socket.once('close', resolve);
      });
    }
  }

  /** Resolves when the socket is closed on both sides. */
  async closed(): Promise<void> {
    if (!this.socket.destroyed) await new Promise((resolve) => this.socket.once('close', resolve));
  }

  private read(bytes: Buffer): void {
    this.buffered = Buffer.concat([this.buffered, bytes]);
    while (this.buffered.byteLength >= 9) {
      const length = this.buffered.readUIntBE(0, 3);
      if (this.buffered.byteLength < 9 + length) return;
      const frame: Frame = {
        type: this.buffered.readUInt8(3),
        flags: this.buffered.readUInt8(4),
        stream: this.buffered.readUInt32BE(5),
        payload: this.buffered.subarray(9, 9 + length),
      };
      this.buffered = this.buffered.subarray(9 + length);
      this.frames.push(frame);
      if (frame.type === FRAME.ping && frame.flags === 0 && this.answersPings) {
        this.send(FRAME.ping, ACK, 0, frame.payload);
      }
    }
  }
}

function frameOf(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.byteLength, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A string of HPACK (RFC 7541, 5.2), without Huffman code. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  if (bytes.byteLength < 127) return Buffer.concat([Buffer.from([bytes.byteLength]), bytes]);
  const length = [127];
  let rest = bytes.byteLength - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128);
  length.push(rest);
  return Buffer.concat([Buffer.from(length), bytes]);
}
