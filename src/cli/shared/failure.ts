/** What was thrown, in the words and fields that a verb prints. */
import { SaladClientError } from '../../../clients/typescript/src/index.js';
import { SaladError } from '../../errors/index.js';
import { EXIT, note, printJson } from './output.js';
import { ServerCallError } from './server-call.js';

/** A failure as `--json` prints it. */
export interface Failure {
  /** gRPC status, where a server was asked. */
  readonly status: string | null;
  /** Stable reason of docs/reference/errors.md; null where there is none. */
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

/** Exit code for something thrown: wrong usage or configuration is 2, an interrupt 130, the rest 1. */
export function exitCodeFor(error: unknown): number {
  if (error instanceof SaladError) {
    if (error.reason === 'CONFIGURATION_INVALID') return EXIT.usage;
    if (error.reason === 'CANCELLED') return EXIT.interrupted;
  }
  return EXIT.failure;
}

/** One message; a stack only for what nobody foresaw, which is a fault of ours. */
export function reportFailure(error: unknown, json: boolean): void {
  const failure = failureOf(error);
  if (json) printJson({ event: 'error', ...failure });
  note(`salad: ${failure.message}`);
  if (failure.reason === 'INTERNAL' && failure.status === null && error instanceof Error && error.stack) {
    note(error.stack);
  }
}

/** An error of the operating system, such as a file that is not there or a disk that is full. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error;
}

/** `ENOENT: no such file or directory, open 'x.png'` as `x.png: no such file or directory`. */
function systemMessage(error: NodeJS.ErrnoException): string {
  const reason = systemReason(error);
  return error.path === undefined ? reason : `${error.path}: ${reason}`;
}

/** Of an error of the operating system what is wrong, without code, call and path; of others the message. */
export function systemReason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return /^[A-Z0-9]+: ([^,]+), \w+/.exec(message)?.[1] ?? message;
}
