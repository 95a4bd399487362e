/** gRPC calls over node:http2, for behaviour that no gRPC library offers. */
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { ErrorInfo } from '../../../src/gen/google/rpc/error_details.js';
import { Status } from '../../../src/gen/google/rpc/status.js';
import { StreamAcquisitionRequest } from '../../../src/gen/salad/v1/anomaly_scoring.js';

export const STREAM_PATH = '/salad.v1.AnomalyScoring/StreamAcquisition';

export interface RawOptions {
  /** Window of each stream for the server's answers. */
  readonly windowBytes?: number;
  /** Address of this client: any of 127.0.0.0/8, which all belong to this machine. */
  readonly localAddress?: string;
}

export async function connectRaw(address: string, options: RawOptions = {}): Promise<ClientHttp2Session> {
  const settings = options.windowBytes === undefined ? {} : { initialWindowSize: options.windowBytes };
  const [host = '', port = ''] = address.split(':');
  const { localAddress } = options;
  const session = connect(`http://${address}`, {
    settings,
    createConnection: () =>
      connectTcp({ host, port: Number(port), ...(localAddress === undefined ? {} : { localAddress }) }),
  });
  session.on('error', () => {});
  await once(session, 'connect');
  // Tests open more streams than Node's warning threshold of listeners.
  session.setMaxListeners(0);
  return session;
}

export function openRaw(
  session: ClientHttp2Session,
  path = STREAM_PATH,
  headers: Readonly<Record<string, string>> = {},
): ClientHttp2Stream {
  const stream = session.request(
    { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers },
    { endStream: false },
  );
  stream.on('error', () => {});
  return stream;
}

/** One length-prefixed message. @param announced length in the prefix, which may be wrong */
export function frame(message: Uint8Array, announced = message.byteLength, isCompressed = false): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = isCompressed ? 1 : 0;
  prefix.writeUInt32BE(announced, 1);
  return Buffer.concat([prefix, message]);
}

export function encode(payload: NonNullable<StreamAcquisitionRequest['payload']>): Uint8Array {
  return StreamAcquisitionRequest.encode({ payload }).finish();
}

export interface RawEnd {
  /** gRPC status; undefined where the stream ended without one. */
  readonly status: number | undefined;
  readonly details: Buffer | undefined;
  /** Reason in google.rpc.ErrorInfo. */
  readonly reason: string | undefined;
  /** `grpc-message`, decoded. */
  readonly message: string | undefined;
  /** HTTP/2 error code. */
  readonly rstCode: number;
}

/** Reads and drops the answers until the stream is closed. */
export function endOf(stream: ClientHttp2Stream): Promise<RawEnd> {
  return new Promise((resolve) => {
    let status: number | undefined;
    let details: Buffer | undefined;
    let message: string | undefined;
    const readHeaders = (headers: Record<string, unknown>) => {
      if (headers['grpc-status'] !== undefined) {
        status = Number(headers['grpc-status']);
        // A gRPC client ends its request when it has its status.
        stream.end();
      }
      if (typeof headers['grpc-message'] === 'string') message = decodeURI(headers['grpc-message']);
      const encoded = headers['grpc-status-details-bin'];
      if (typeof encoded === 'string') details = Buffer.from(encoded, 'base64');
    };
    stream.on('response', readHeaders);
    stream.on('trailers', readHeaders);
    stream.on('close', () =>
      resolve({ status, details, reason: reasonOf(details), message, rstCode: stream.rstCode ?? 0 }),
    );
    stream.resume();
  });
}

function reasonOf(details: Buffer | undefined): string | undefined {
  if (details === undefined) return undefined;
  const info = Status.decode(details).details.find(({ typeUrl }) => typeUrl.endsWith('google.rpc.ErrorInfo'));
  return info === undefined ? undefined : ErrorInfo.decode(info.value).reason;
}
