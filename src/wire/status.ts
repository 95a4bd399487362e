/** Maps errors of this program to gRPC status, with the details of google.rpc.Status. No other file does this. */
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { boundedMessage, type ErrorKind, type ErrorReason, SaladError } from '../errors/index.js';
import type { Any } from '../gen/google/protobuf/any.js';
import { BadRequest, ErrorInfo, RetryInfo } from '../gen/google/rpc/error_details.js';
import { Status } from '../gen/google/rpc/status.js';

/** ErrorInfo.domain of every error of this server. */
export const ERROR_DOMAIN = 'salad-serve';
/** Trailer with the details of google.rpc.Status. */
export const DETAILS_KEY = 'grpc-status-details-bin';
/** Most bytes of an error's message; trailers contain it twice, percent-encoded and in base64. */
const MESSAGE_BYTES_MAX = 768;
/** Most field violations of one error, and most bytes of the texts of each. */
const VIOLATIONS_MAX = 4;
const FIELD_BYTES_MAX = 64;
const DESCRIPTION_BYTES_MAX = 384;
const TYPE_PREFIX = 'type.googleapis.com/';

export const STATUS_OF_KIND: Readonly<Record<ErrorKind, status>> = {
  invalidArgument: status.INVALID_ARGUMENT,
  notFound: status.NOT_FOUND,
  unauthenticated: status.UNAUTHENTICATED,
  permissionDenied: status.PERMISSION_DENIED,
  failedPrecondition: status.FAILED_PRECONDITION,
  resourceExhausted: status.RESOURCE_EXHAUSTED,
  unavailable: status.UNAVAILABLE,
  deadlineExceeded: status.DEADLINE_EXCEEDED,
  cancelled: status.CANCELLED,
  unimplemented: status.UNIMPLEMENTED,
  internal: status.INTERNAL,
};

/** Temporary failures: the client gets a retry delay. */
const RETRYABLE: ReadonlySet<ErrorReason> = new Set([
  'OVERLOADED',
  'DRAINING',
  'QUOTA_EXCEEDED',
  'CREDENTIALS_UNVERIFIABLE',
  'DECODER_UNAVAILABLE',
]);

export function codeOf(error: SaladError): status {
  return STATUS_OF_KIND[error.kind];
}

/**
 * Converts an error to the status of a call.
 * @param retryDelayMs for retryable errors without a delay of their own
 * @returns the error that grpc-js sends as the status of a call; its cause is the given one. The text of an unexpected
 *   error is generic: its message is only logged
 */
export function toServiceError(thrown: unknown, retryDelayMs: number): ServiceError {
  const error = SaladError.from(thrown);
  const message = publicMessage(error);
  const metadata = new Metadata();
  metadata.set(DETAILS_KEY, statusDetails(error, retryDelayMs));
  THROWN.set(metadata, thrown);
  return Object.assign(new Error(message, { cause: error }), {
    code: codeOf(error),
    details: message,
    metadata,
  });
}

/** The error behind the status of a call, by its trailers: the only object that grpc-js passes on unchanged. */
const THROWN = new WeakMap<Metadata, unknown>();

/** @returns the error that `toServiceError` converted to these trailers; undefined for other trailers */
export function thrownOf(trailers: Metadata | null | undefined): unknown {
  return trailers === null || trailers === undefined ? undefined : THROWN.get(trailers);
}

/** Encodes an error as google.rpc.Status. @param retryDelayMs as in `toServiceError`; absent: no delay by default */
export function statusDetails(error: SaladError, retryDelayMs?: number): Buffer {
  const details: Any[] = [
    pack(
      'google.rpc.ErrorInfo',
      ErrorInfo.encode({ reason: error.reason, domain: ERROR_DOMAIN, metadata: {} }),
    ),
  ];
  if (error.fieldViolations.length > 0) {
    const fieldViolations = error.fieldViolations.slice(0, VIOLATIONS_MAX).map(({ field, description }) => ({
      field: boundedMessage(field, FIELD_BYTES_MAX),
      description: boundedMessage(description, DESCRIPTION_BYTES_MAX),
    }));
    details.push(
      pack('google.rpc.BadRequest', BadRequest.encode(BadRequest.fromPartial({ fieldViolations }))),
    );
  }
  const delayMs = error.retryAfterMs ?? (RETRYABLE.has(error.reason) ? retryDelayMs : undefined);
  if (delayMs !== undefined) {
    const retryDelay = {
      seconds: BigInt(Math.floor(delayMs / 1000)),
      nanos: Math.round((delayMs % 1000) * 1e6),
    };
    details.push(pack('google.rpc.RetryInfo', RetryInfo.encode({ retryDelay })));
  }
  return Buffer.from(Status.encode({ code: codeOf(error), message: publicMessage(error), details }).finish());
}

/** Errors that grpc-js itself sends, recognised by their texts; they have no google.rpc.Status. */
const PROTOCOL_ERRORS: readonly (readonly [code: status, text: RegExp, reason: ErrorReason])[] = [
  [status.RESOURCE_EXHAUSTED, /^Received message (larger than|that decompresses)/, 'MESSAGE_TOO_LARGE'],
  [status.INTERNAL, /^Error deserializing request/, 'MESSAGE_INVALID'],
  [status.INTERNAL, /^Failed to decompress message/, 'MESSAGE_INVALID'],
  [status.INTERNAL, /^Invalid grpc-timeout value/, 'MESSAGE_INVALID'],
  [status.DEADLINE_EXCEEDED, /^Deadline exceeded$/, 'DEADLINE_EXCEEDED'],
  [status.UNIMPLEMENTED, /^Received /, 'UNIMPLEMENTED'],
];

/** @returns undefined for what is not an error of the protocol */
export function protocolError(code: status, text: string): SaladError | undefined {
  const match = PROTOCOL_ERRORS.find(
    ([protocolCode, pattern]) => code === protocolCode && pattern.test(text),
  );
  return match === undefined ? undefined : new SaladError(match[2], text);
}

/** The message sent to the client. Its length is limited, because C-core clients reject trailers above 8 KiB. */
function publicMessage(error: SaladError): string {
  return error.reason === 'INTERNAL'
    ? "internal error; see the server's log"
    : boundedMessage(error.message, MESSAGE_BYTES_MAX);
}

function pack(type: string, message: { finish(): Uint8Array }): Any {
  return { typeUrl: `${TYPE_PREFIX}${type}`, value: Buffer.from(message.finish()) };
}
