/** Applies limits to every HTTP/2 stream of a call, independent of grpc-js and the handlers. */
import {
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
  type ServerStreamResponseOptions,
} from 'node:http2';
import { status } from '@grpc/grpc-js';
import { SaladError } from '../../errors/index.js';
import { DETAILS_KEY, statusDetails } from '../../wire/status.js';

const MS_OF_UNIT: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1 };
/** Largest delay of Node's timers and of grpc-js's deadlines: 24.8 days. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;
/** Most characters of a method's name that an answer repeats. */
const PATH_LENGTH_MAX = 128;

/**
 * - Reduces a timeout above 24.8 days to 24.8 days: grpc-js would treat it as one that has passed.
 * - Adds error details to the answer for an unknown method, which grpc-js sends before any interceptor runs.
 * - Resets the stream `lingerMs` after its status was sent, unless the client has read it and closed its half. Without
 *   this, data that the client still sends would be read and dropped for ever, and a client that reads nothing would
 *   keep the stream and its answers in memory.
 */
export function limitStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, lingerMs: number): void {
  limitTimeout(headers);
  let lingerTimer: NodeJS.Timeout | undefined;
  const onStatus = () => {
    lingerTimer ??= setTimeout(() => reset(stream), lingerMs);
  };
  stream.once('close', () => clearTimeout(lingerTimer));
  const { respond, end } = stream;
  stream.respond = (response?: OutgoingHttpHeaders, options?: ServerStreamResponseOptions) => {
    if (options?.endStream === true) onStatus();
    respond.call(
      stream,
      isUnknownMethod(response) ? unknownMethodAnswer(headers[':path']) : response,
      options,
    );
  };
  stream.end = ((...args: Parameters<typeof end>) => {
    onStatus();
    return end.apply(stream, args);
  }) as typeof end;
}

/** RFC 9113 (8.1) defines NO_ERROR for a stream that was answered before the client had sent all of it. */
function reset(stream: ServerHttp2Stream): void {
  if (stream.closed) return;
  // With NO_ERROR Node would wait until the client has read the answers.
  stream.close(stream.writableFinished ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL);
}

function limitTimeout(headers: IncomingHttpHeaders): void {
  const match = /^(\d{1,8})([HMSm])$/.exec(String(headers['grpc-timeout'] ?? ''));
  if (match === null) return;
  const ms = Number(match[1]) * (MS_OF_UNIT[match[2] ?? ''] ?? 0);
  if (ms > TIMEOUT_MS_MAX) headers['grpc-timeout'] = `${Math.floor(TIMEOUT_MS_MAX / 1000)}S`;
}

/** Whether the answer is grpc-js's own: only those have no error details. */
function isUnknownMethod(response: OutgoingHttpHeaders | undefined): boolean {
  return Number(response?.['grpc-status']) === status.UNIMPLEMENTED && response?.[DETAILS_KEY] === undefined;
}

function unknownMethodAnswer(path = ''): OutgoingHttpHeaders {
  const error = new SaladError('UNIMPLEMENTED', `the server has no method ${path.slice(0, PATH_LENGTH_MAX)}`);
  return {
    ':status': 200,
    'content-type': 'application/grpc+proto',
    'grpc-status': status.UNIMPLEMENTED,
    'grpc-message': encodeURI(error.message),
    [DETAILS_KEY]: statusDetails(error).toString('base64'),
  };
}
