/**
 * The failures salad-serve knows by name. Domain code throws these and knows nothing of gRPC;
 * `src/wire/status.ts` is the only place that turns a kind into a status.
 */

/** What went wrong, in the broad sense that decides how a caller may react. */
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
  | 'internal';

/** Every stable reason, with its kind and the sentence docs/reference/errors.md prints. */
export const ERROR_REASONS = {
  HEADER_MISSING: ['invalidArgument', 'The first message of an acquisition was not a header.'],
  HEADER_DUPLICATE: ['invalidArgument', 'A second header was sent.'],
  HEADER_INVALID: ['invalidArgument', 'A header field is missing or out of range; field violations name it.'],
  MESSAGE_UNEXPECTED: ['invalidArgument', 'A message came that the header does not allow at this point.'],
  ROWS_OUT_OF_ORDER: ['invalidArgument', 'Rows did not start at the next row not yet sent.'],
  SAMPLE_COUNT_MISMATCH: ['invalidArgument', 'The number of sample bytes does not fit the geometry.'],
  TILE_OUT_OF_GRID: ['invalidArgument', 'A tile position lies outside the tile grid.'],
  TILE_DUPLICATE: ['invalidArgument', 'A tile was sent twice.'],
  CHECKSUM_MISMATCH: ['invalidArgument', 'The CRC-32C at the end does not match the samples received.'],
  IMAGE_UNREADABLE: ['invalidArgument', 'The encoded image is corrupt or of a format not supported.'],
  DICOM_UNSUPPORTED: [
    'invalidArgument',
    'The DICOM file is whole but cannot be scored: colour, no pixels, an unknown transfer syntax, or contradictions.',
  ],
  DECODING_LIMIT_EXCEEDED: [
    'invalidArgument',
    'Decoding the file took more time or memory than an image of its size may take.',
  ],
  DECODER_UNAVAILABLE: ['unavailable', 'The process that decodes DICOM files does not start; retry later.'],
  IMAGE_TOO_LARGE: ['resourceExhausted', "The image exceeds the server's pixel limit."],
  MODEL_NOT_FOUND: ['notFound', 'No model of that name and version is loaded.'],
  BUNDLE_INVALID: ['failedPrecondition', 'A model bundle is incomplete, inconsistent or fails its hashes.'],
  ACQUISITION_INCOMPLETE: ['failedPrecondition', 'The stream ended before all pixels were sent.'],
  FALSE_POSITIVE_RATE_UNREACHABLE: [
    'failedPrecondition',
    'The calibration set is too small for the requested false-positive rate.',
  ],
  TRAINING_DATA_INVALID: ['failedPrecondition', 'The training or evaluation data cannot be used as given.'],
  CONFIGURATION_INVALID: ['failedPrecondition', 'The configuration or command line is wrong.'],
  OVERLOADED: ['resourceExhausted', 'The server has no room for another acquisition now; retry later.'],
  CREDENTIALS_MISSING: ['unauthenticated', 'The server wants a bearer token or an API key, and none came.'],
  CREDENTIALS_INVALID: ['unauthenticated', 'The token or API key is not one that the server accepts.'],
  CREDENTIALS_UNVERIFIABLE: [
    'unavailable',
    "The keys that tokens are checked with could not be fetched; the server's log has the details.",
  ],
  SCOPE_MISSING: ['permissionDenied', 'The identity lacks the scope that this call needs.'],
  ADMIN_DISABLED: ['permissionDenied', 'The server does not offer calls that change it.'],
  QUOTA_EXCEEDED: ['resourceExhausted', 'The identity uses all that is meant for one; retry later.'],
  DRAINING: ['unavailable', 'The server is shutting down; retry on another instance.'],
  DEADLINE_EXCEEDED: ['deadlineExceeded', "The call's deadline passed before it was done."],
  IDLE_TIMEOUT: ['deadlineExceeded', 'The client sent nothing for longer than the server waits.'],
  CANCELLED: ['cancelled', 'The caller cancelled.'],
  ENGINE_UNAVAILABLE: ['failedPrecondition', 'The engine asked for cannot be used on this machine.'],
  ENGINE_FAILED: ['internal', 'An engine failed while scoring.'],
  INTERNAL: ['internal', "Something failed that should not; the server's log has the details."],
} as const satisfies Record<string, readonly [ErrorKind, string]>;

export type ErrorReason = keyof typeof ERROR_REASONS;

/** A request field and what is wrong with it, as in google.rpc.BadRequest. */
export interface FieldViolation {
  /** Path in proto names, such as `header.image.rows`. */
  readonly field: string;
  readonly description: string;
}

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

  /** A field violation that stands alone: the message names the field too. */
  static field(reason: ErrorReason, field: string, description: string): SaladError {
    return new SaladError(reason, `${field}: ${description}`, { fieldViolations: [{ field, description }] });
  }

  /** Anything thrown, as a SaladError: what is not one already becomes INTERNAL with its cause kept. */
  static from(error: unknown): SaladError {
    if (error instanceof SaladError) return error;
    const message = error instanceof Error ? error.message : String(error);
    return new SaladError('INTERNAL', message, { cause: error });
  }
}
