/**
 * Errors as data that crosses a thread. Structured clone keeps neither the class of an error nor its fields; this keeps
 * reason, field violations, retry delay, stack and causes.
 */
import { ERROR_REASONS, type ErrorReason, type FieldViolation, SaladError } from './index.js';

export interface ErrorData {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  /** Of a system error, such as ENOENT. */
  readonly code?: string;
  readonly cause?: ErrorData;
  /** Of a SaladError, as the rest. */
  readonly reason?: ErrorReason;
  readonly fieldViolations?: readonly FieldViolation[];
  readonly retryAfterMs?: number;
}

/** Causes further down are left out: a chain may be circular. */
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

/** A SaladError where the data is of one, else an Error of that name; the stack is that of the thread it came from. */
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
