/** Errors of calls, with the details that the server sent. */
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { BadRequest, ErrorInfo, RetryInfo } from '../../../src/gen/google/rpc/error_details.js';
import { Status } from '../../../src/gen/google/rpc/status.js';

/** Name of a gRPC status, such as `INVALID_ARGUMENT`. */
export type StatusName = keyof typeof status;

/** The failure of a call, reported by the server, by the connection or by this client. */
export class SaladClientError extends Error {
  override readonly name = 'SaladClientError';
  /** gRPC status. */
  readonly status: StatusName;
  /** Stable reason, such as `TILE_DUPLICATE` (docs/reference/errors.md); undefined if the server sent none. */
  readonly reason: string | undefined;
  /** Invalid fields of the request, with human-readable descriptions. */
  readonly fieldViolations: readonly { readonly field: string; readonly description: string }[];
  /** Delay before a retry, in ms; undefined if the server sent none. */
  readonly retryAfterMs: number | undefined;

  constructor(error: ServiceError) {
    super(error.details, { cause: error });
    this.status = (status[error.code] ?? 'UNKNOWN') as StatusName;
    const details = readDetails(error);
    this.reason = details.reason;
    this.fieldViolations = details.fieldViolations;
    this.retryAfterMs = details.retryAfterMs;
  }

  /** Creates an error that this client detected. @internal */
  static local(name: StatusName, details: string, cause?: unknown): SaladClientError {
    const error = new Error(details, { cause });
    return new SaladClientError(
      Object.assign(error, { code: status[name], details, metadata: new Metadata() }),
    );
  }
}

interface Details {
  reason: string | undefined;
  fieldViolations: { field: string; description: string }[];
  retryAfterMs: number | undefined;
}

/** Reads google.rpc.Status from the trailer `grpc-status-details-bin`. */
function readDetails(error: ServiceError): Details {
  const details: Details = { reason: undefined, fieldViolations: [], retryAfterMs: undefined };
  const trailer = error.metadata?.get('grpc-status-details-bin')[0];
  if (!(trailer instanceof Uint8Array)) return details;
  for (const any of Status.decode(trailer).details) {
    if (any.typeUrl.endsWith('/google.rpc.ErrorInfo')) {
      details.reason = ErrorInfo.decode(any.value).reason;
    } else if (any.typeUrl.endsWith('/google.rpc.BadRequest')) {
      details.fieldViolations = BadRequest.decode(any.value).fieldViolations.map(
        ({ field, description }) => ({
          field,
          description,
        }),
      );
    } else if (any.typeUrl.endsWith('/google.rpc.RetryInfo')) {
      const delay = RetryInfo.decode(any.value).retryDelay;
      if (delay) details.retryAfterMs = Number(delay.seconds) * 1000 + delay.nanos / 1e6;
    }
  }
  return details;
}
