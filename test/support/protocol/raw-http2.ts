/** A client that sends single HTTP/2 frames over TCP, for behaviour that no HTTP/2 library offers. */
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
  /** Window of each stream for the server's answers. */
  readonly windowBytes?: number;
  /** Whether pings are answered. @default true */
  readonly answersPings?: boolean;
  /** Authority of the server's certificate, in PEM. @default plaintext */
  readonly ca?: string;
  /** Whether the socket stays half open when the server closes its half. @default false */
  readonly keepsHalfOpen?: boolean;
}

export class RawConnection {
  readonly frames: Frame[] = [];
  private unparsed = Buffer.alloc(0);

  private constructor(
    readonly socket: Socket,
    private readonly answersPings: boolean,
  ) {
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => this.read(bytes));
  }

  /** Opens the TCP connection, with TLS where `ca` is given, and sends nothing. */
  static async open(address: string, options: RawConnectionOptions = {}): Promise<RawConnection> {
    const colon = address.lastIndexOf(':');
    const { ca } = options;
    const target = {
      host: address.slice(0, colon),
      port: Number(address.slice(colon + 1)),
      allowHalfOpen: options.keepsHalfOpen ?? false,
    };
    const socket =
      ca === undefined
        ? connect(target)
        : connectTls({ ...target, ca, servername: 'localhost', ALPNProtocols: ['h2'] });
    socket.setNoDelay(true);
    await once(socket, ca === undefined ? 'connect' : 'secureConnect');
    return new RawConnection(socket, options.answersPings ?? true);
  }

  /** Opens a connection, and exchanges the preface and SETTINGS. */
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

  /** Sends the headers of a gRPC request; no field is compressed. */
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

  /** Sends bytes of a request, at most 16 KiB, in one frame. */
  data(stream: number, bytes: Uint8Array, endStream = false): void {
    this.send(FRAME.data, endStream ? END_STREAM : 0, stream, bytes);
  }

  /** Resolves with the first frame that matches; a frame that was received before counts, too. */
  async seen(matches: (frame: Frame) => boolean): Promise<Frame> {
    let found: Frame | undefined;
    await this.until(() => {
      found = this.frames.find(matches);
      return found !== undefined;
    });
    return found as unknown as Frame;
  }

  /** Resolves when the condition is true, which is checked after every network read. */
  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) {
      if (this.socket.destroyed) throw new Error('the connection was closed before the awaited frames came');
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
    this.unparsed = Buffer.concat([this.unparsed, bytes]);
    while (this.unparsed.byteLength >= 9) {
      const length = this.unparsed.readUIntBE(0, 3);
      if (this.unparsed.byteLength < 9 + length) return;
      const frame: Frame = {
        type: this.unparsed.readUInt8(3),
        flags: this.unparsed.readUInt8(4),
        stream: this.unparsed.readUInt32BE(5),
        payload: this.unparsed.subarray(9, 9 + length),
      };
      this.unparsed = this.unparsed.subarray(9 + length);
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
