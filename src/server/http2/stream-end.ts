/** What happens to every HTTP/2 stream of a call, whatever grpc-js and the handlers do. */
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
/** Timers of Node, and the integers grpc-js computes with, end here: 24.8 days. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;
/** Characters of a method's name that an answer repeats. */
const PATH_MAX = 128;

/**
 * - A deadline above 24.8 days counts as 24.8 days; grpc-js would take it for one that has passed.
 * - A call of an unknown method, which grpc-js answers before any interceptor, gets error details as all others.
 * - Once the status is decided, the client has `lingerMs` to read it and to close its half; then the stream is reset.
 *   What it goes on sending would be read and dropped for ever, and a client that takes no data would keep the stream
 *   and its answers.
 */
export function superviseStream(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  lingerMs: number,
): void {
  limitTimeout(headers);
  let linger: NodeJS.Timeout | undefined;
  const onStatus = () => {
    linger ??= setTimeout(() => reset(stream), lingerMs);
  };
  stream.once('close', () => clearTimeout(linger));
  const { respond, end } = stream;
  stream.respond = (response?: OutgoingHttpHeaders, options?: ServerStreamResponseOptions) => {
    if (options?.endStream === true) onStatus();
    respond.call(stream, isUnknownMethod(response) ? unimplemented(headers[':path']) : response, options);
  };
  stream.end = ((...args: Parameters<typeof end>) => {
    onStatus();
    return end.apply(stream, args);
  }) as typeof end;
}

/** NO_ERROR is what RFC 9113 (8.1) has for a stream that was answered before it was wholly sent. */
function reset(stream: ServerHttp2Stream): void {
  if (stream.closed) return;
  // With NO_ERROR Node waits until the answers are taken.
  stream.close(stream.writableFinished ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL);
}

function limitTimeout(headers: IncomingHttpHeaders): void {
  const match = /^(\d{1,8})([HMSm])$/.exec(String(headers['grpc-timeout'] ?? ''));
  if (match === null) return;
  const ms = Number(match[1]) * (MS_OF_UNIT[match[2] ?? ''] ?? 0);
  if (ms > TIMEOUT_MS_MAX) headers['grpc-timeout'] = `${Math.floor(TIMEOUT_MS_MAX / 1000)}S`;
}

/** True for the answer of grpc-js itself, which has no details. */
function isUnknownMethod(response: OutgoingHttpHeaders | undefined): boolean {
  return Number(response?.['grpc-status']) === status.UNIMPLEMENTED && response?.[DETAILS_KEY] === undefined;
}

function unimplemented(path = ''): OutgoingHttpHeaders {
  const error = new SaladError('UNIMPLEMENTED', `the server has no method ${path.slice(0, PATH_MAX)}`);
  return {
    ':status': 200,
    'content-type': 'application/grpc+proto',
    'grpc-status': status.UNIMPLEMENTED,
    'grpc-message': encodeURI(error.message),
    [DETAILS_KEY]: statusDetails(error).toString('base64'),
  };
}
