/** Converts a thrown error into the message, the JSON fields and the exit code of a command. */
import { SaladClientError } from '../../../clients/typescript/src/index.js';
import { SaladError, systemReason } from '../../errors/index.js';
import { EXIT, note, printJson } from './output.js';
import { ServerCallError } from './server-call.js';

/** A failure as `--json` prints it. */
export interface Failure {
  /** gRPC status; null for an error that is not from a call to a server. */
  readonly status: string | null;
  /** Stable reason of docs/reference/errors.md; null if there is none. */
  readonly reason: string | null;
  readonly message: string;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof ServerCallError || error instanceof SaladClientError) {
    return { status: error.status, reason: error.reason ?? null, message: error.message };
  }
  if (isSystemError(error)) return { status: null, reason: null, message: systemMessage(error) };
  const { reason, message } = SaladError.from(error);
  return { status: null, reason, message };
}

const USAGE_REASONS: ReadonlySet<string> = new Set([
  'CONFIGURATION_INVALID',
  'MODEL_NOT_FOUND',
  'FALSE_POSITIVE_RATE_UNREACHABLE',
]);

/**
 * Exit code for a thrown error: 2 for wrong usage or configuration, a model that is not there and a rate that it cannot
 * promise included; 130 for an interrupt; 1 for the rest, so for everything that a server answers.
 */
export function exitCodeFor(error: unknown): number {
  if (error instanceof SaladError) {
    if (USAGE_REASONS.has(error.reason)) return EXIT.usage;
    if (error.reason === 'CANCELLED') return EXIT.interrupted;
  }
  return EXIT.failure;
}

/** Prints one message, and the stack only of an unexpected error, which is a fault of this program. */
export function reportFailure(error: unknown, json: boolean): void {
  const failure = failureOf(error);
  if (json) printJson({ event: 'error', ...failure });
  note(`salad: ${failure.message}`);
  if (failure.reason === 'INTERNAL' && failure.status === null && error instanceof Error && error.stack) {
    note(error.stack);
  }
}

/** Whether the operating system reported the error, such as a missing file or a full disk. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error;
}

/** Rewrites `ENOENT: no such file or directory, open 'x.png'` to `x.png: no such file or directory`. */
function systemMessage(error: NodeJS.ErrnoException): string {
  const reason = systemReason(error);
  return error.path === undefined ? reason : `${error.path}: ${reason}`;
}
