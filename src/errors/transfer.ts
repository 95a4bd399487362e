/**
 * Converts errors to data for a message to another thread, and back. Structured clone keeps neither the class of an
 * error nor its fields; this keeps reason, field violations, retry delay, stack and causes.
 */
import { ERROR_REASONS, type ErrorReason, type FieldViolation, SaladError } from './index.js';

export interface ErrorData {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  /** Code of a system error, such as ENOENT. */
  readonly code?: string;
  readonly cause?: ErrorData;
  /** The fields from here on belong to a SaladError. */
  readonly reason?: ErrorReason;
  readonly fieldViolations?: readonly FieldViolation[];
  readonly retryAfterMs?: number;
}

/** Longer chains of causes are cut: a chain may be circular. */
const CAUSES_MAX = 8;

export function toErrorData(thrown: unknown, causesLeft = CAUSES_MAX): ErrorData {
  if (!(thrown instanceof Error)) return { name: 'Error', message: String(thrown) };
  const { name, message, stack, cause } = thrown;
  const code = (thrown as NodeJS.ErrnoException).code;
  return {
    name,
    message,
    ...(stack === undefined ? {} : { stack }),
    ...(typeof code === 'string' ? { code } : {}),
    ...(cause === undefined || causesLeft === 0 ? {} : { cause: toErrorData(cause, causesLeft - 1) }),
    ...(thrown instanceof SaladError ? fieldsOf(thrown) : {}),
  };
}

function fieldsOf({ reason, fieldViolations, retryAfterMs }: SaladError) {
  return { reason, fieldViolations, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

/** Restores a SaladError, or an Error with the name of the original. The stack is that of the sending thread. */
export function fromErrorData(data: ErrorData): Error {
  const options = data.cause === undefined ? {} : { cause: fromErrorData(data.cause) };
  const error =
    data.reason === undefined ? plainError(data, options) : saladError(data, data.reason, options);
  if (data.stack !== undefined) error.stack = data.stack;
  return error;
}

function plainError({ name, message, code }: ErrorData, options: ErrorOptions): Error {
  return Object.assign(new Error(message, options), { name }, code === undefined ? {} : { code });
}

function saladError(data: ErrorData, reason: ErrorReason, options: ErrorOptions): SaladError {
  const { message, fieldViolations = [], retryAfterMs } = data;
  return new SaladError(Object.hasOwn(ERROR_REASONS, reason) ? reason : 'INTERNAL', message, {
    ...options,
    fieldViolations,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}
