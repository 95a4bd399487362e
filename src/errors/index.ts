/**
 * The error class of salad-serve and its reasons. Domain code throws it and does not depend on gRPC; only
 * `src/wire/status.ts` converts a kind to a gRPC status.
 */

/** The class of a failure, which decides how a caller may react. */
export type ErrorKind =
  | 'invalidArgument'
  | 'notFound'
  | 'unauthenticated'
  | 'permissionDenied'
  | 'failedPrecondition'
  | 'resourceExhausted'
  | 'unavailable'
  | 'deadlineExceeded'
  | 'cancelled'
  | 'unimplemented'
  | 'internal';

/** Every reason (a stable name) with its kind and its sentence in docs/reference/errors.md. */
export const ERROR_REASONS = {
  HEADER_MISSING: ['invalidArgument', 'The first message of an acquisition was not a header.'],
  HEADER_DUPLICATE: ['invalidArgument', 'A second header was sent.'],
  HEADER_INVALID: ['invalidArgument', 'A header field is missing or out of range; field violations name it.'],
  TENSOR_INVALID: [
    'invalidArgument',
    'A tensor of the Open Inference Protocol has a name, type or shape that the model does not take or give.',
  ],
  PARAMETER_INVALID: [
    'invalidArgument',
    'A parameter of the Open Inference Protocol is unknown, of another type or out of range.',
  ],
  MESSAGE_UNEXPECTED: ['invalidArgument', 'The header does not allow this message at this point.'],
  MESSAGE_INVALID: [
    'invalidArgument',
    'A message or its deadline could not be decoded, or a message has too many fields.',
  ],
  MESSAGE_TOO_LARGE: ['resourceExhausted', 'A request message is larger than the method accepts.'],
  ROWS_OUT_OF_ORDER: [
    'invalidArgument',
    'Rows did not start at the row after the last one sent; the error names that row. Send the acquisition anew.',
  ],
  SAMPLE_COUNT_MISMATCH: ['invalidArgument', 'The number of sample bytes does not match the geometry.'],
  SAMPLE_INVALID: [
    'invalidArgument',
    'A sample of 32 bits is not a display value, a number from 0 to 255 (of the Open Inference Protocol: 0 to 1).',
  ],
  TILE_OUT_OF_GRID: ['invalidArgument', 'A tile position lies outside the tile grid.'],
  TILE_DUPLICATE: ['invalidArgument', 'A tile was sent twice.'],
  CHECKSUM_MISMATCH: ['invalidArgument', 'The CRC-32C at the end does not match the samples received.'],
  IMAGE_UNREADABLE: ['invalidArgument', 'The encoded image is corrupt or of a format not supported.'],
  DICOM_UNSUPPORTED: [
    'invalidArgument',
    'The DICOM file is complete but cannot be scored: colour, no pixels, an unknown transfer syntax, or contradictions.',
  ],
  DECODING_LIMIT_EXCEEDED: [
    'invalidArgument',
    'Decoding the file took more time or memory than an image of its size may take.',
  ],
  DECODER_UNAVAILABLE: [
    'unavailable',
    'The process that decodes DICOM files cannot be started; retry later.',
  ],
  IMAGE_TOO_LARGE: [
    'resourceExhausted',
    "The image exceeds the server's pixel limit, or 65,535 rows or columns.",
  ],
  MODEL_NOT_FOUND: ['notFound', 'No model of that name and version is loaded.'],
  LAST_MODEL: ['failedPrecondition', 'The last model that is served cannot be unloaded.'],
  BUNDLE_INVALID: ['failedPrecondition', 'A model bundle is incomplete, inconsistent or fails its hashes.'],
  ACQUISITION_INCOMPLETE: [
    'failedPrecondition',
    'The stream ended before all pixels were sent; send the acquisition anew.',
  ],
  FALSE_POSITIVE_RATE_UNREACHABLE: [
    'failedPrecondition',
    'The calibration set is too small for the requested false-positive rate.',
  ],
  TRAINING_DATA_INVALID: ['failedPrecondition', 'The training or evaluation data cannot be used as given.'],
  CONFIGURATION_INVALID: ['failedPrecondition', 'The configuration or command line is wrong.'],
  ADDRESS_UNAVAILABLE: [
    'failedPrecondition',
    'An address to listen on is in use or does not belong to this machine.',
  ],
  STORAGE_FULL: [
    'resourceExhausted',
    'The disk of an inbox has less free space than is kept free; send again later.',
  ],
  INSTANCE_CONFLICT: [
    'failedPrecondition',
    'A DICOM instance with this UID and other content is kept already; the new one was set aside.',
  ],
  OVERLOADED: ['resourceExhausted', 'The server cannot accept another acquisition now; retry later.'],
  CREDENTIALS_MISSING: [
    'unauthenticated',
    'The server requires a bearer token or an API key, and the call has none.',
  ],
  CREDENTIALS_INVALID: ['unauthenticated', 'The server does not accept the token or API key.'],
  CREDENTIALS_UNVERIFIABLE: [
    'unavailable',
    "The keys for checking tokens could not be fetched; the server's log has the details.",
  ],
  SCOPE_MISSING: ['permissionDenied', 'The identity lacks the scope that this call needs.'],
  ADMIN_DISABLED: [
    'permissionDenied',
    'Calls that change the server are disabled; the setting admin enables them.',
  ],
  QUOTA_EXCEEDED: ['resourceExhausted', 'The identity or address has used its quota or share; retry later.'],
  DRAINING: ['unavailable', 'The server is shutting down; retry on another instance.'],
  DEADLINE_EXCEEDED: ['deadlineExceeded', "The call's deadline passed before it was done."],
  IDLE_TIMEOUT: [
    'deadlineExceeded',
    'The client sent nothing, or read nothing, for longer than the idle timeout.',
  ],
  CANCELLED: ['cancelled', 'The caller cancelled.'],
  ENGINE_UNAVAILABLE: [
    'failedPrecondition',
    'The requested engine cannot be used on this machine; `salad doctor` says why.',
  ],
  ENGINE_FAILED: ['internal', "An engine failed while scoring; the server's log has the details."],
  UNIMPLEMENTED: [
    'unimplemented',
    'The server has no such method, or does not accept this compression or number of messages.',
  ],
  INTERNAL: ['internal', "An unexpected failure; the server's log has the details."],
} as const satisfies Record<string, readonly [ErrorKind, string]>;

export type ErrorReason = keyof typeof ERROR_REASONS;

/** A request field and what is wrong with it, as in google.rpc.BadRequest. */
export interface FieldViolation {
  /** Path in proto names, such as `header.image.rows`. */
  readonly field: string;
  readonly description: string;
}

export { boundedMessage, callerText } from './caller-text.js';
export { systemReason } from './system.js';

export interface SaladErrorOptions extends ErrorOptions {
  readonly fieldViolations?: readonly FieldViolation[];
  /** How long a client should wait before it tries again, in ms. */
  readonly retryAfterMs?: number;
}

/** A failure with a stable reason. It crosses threads as data (transfer.ts). */
export class SaladError extends Error {
  override readonly name = 'SaladError';
  readonly reason: ErrorReason;
  readonly fieldViolations: readonly FieldViolation[];
  readonly retryAfterMs: number | undefined;

  constructor(reason: ErrorReason, message: string, options: SaladErrorOptions = {}) {
    super(message, options);
    this.reason = reason;
    this.fieldViolations = options.fieldViolations ?? [];
    this.retryAfterMs = options.retryAfterMs;
  }

  get kind(): ErrorKind {
    return ERROR_REASONS[this.reason][0];
  }

  /** An error with one field violation; the message names the field, too. */
  static field(reason: ErrorReason, field: string, description: string): SaladError {
    return new SaladError(reason, `${field}: ${description}`, { fieldViolations: [{ field, description }] });
  }

  /** Converts anything thrown: a SaladError stays as it is, anything else becomes the cause of an INTERNAL error. */
  static from(error: unknown): SaladError {
    if (error instanceof SaladError) return error;
    const message = error instanceof Error ? error.message : String(error);
    return new SaladError('INTERNAL', message, { cause: error });
  }
}
