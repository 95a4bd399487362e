/** What a failed attempt to score means: for this instance, or for all. */

import { SaladError } from '../../../../src/errors/index.js';
import { SaladClientError } from '../../../typescript/src/index.js';

export interface AttemptFailure {
  /**
   * - `instance`: this instance cannot be scored; it becomes a dead letter.
   * - `server`: no instance can be scored now; all wait, and no attempt counts.
   * - `attempt`: this attempt failed; it is repeated, a limited number of times.
   */
  readonly scope: 'instance' | 'server' | 'attempt';
  /** A stable reason or gRPC status, and the message of this program or of the server. */
  readonly reason: string;
}

/**
 * Reasons that lie in the file, of this program's decoder or of the server. DECODING_LIMIT_EXCEEDED is none of them: on a
 * machine with much other work an intact image takes longer than its deadline, too.
 */
const OF_THE_FILE: ReadonlySet<string> = new Set([
  ...['IMAGE_UNREADABLE', 'IMAGE_TOO_LARGE', 'DICOM_UNSUPPORTED', 'INSTANCE_CONFLICT'],
  ...['HEADER_INVALID', 'SAMPLE_COUNT_MISMATCH', 'SAMPLE_INVALID'],
]);

/** Statuses that say nothing about the instance: the server is unreachable, full, slow or refuses this program. */
const OF_THE_SERVER: ReadonlySet<string> = new Set([
  ...['UNAVAILABLE', 'RESOURCE_EXHAUSTED', 'DEADLINE_EXCEEDED', 'CANCELLED'],
  ...['UNAUTHENTICATED', 'PERMISSION_DENIED', 'NOT_FOUND', 'FAILED_PRECONDITION', 'UNIMPLEMENTED'],
]);

export function failureOf(error: unknown): AttemptFailure {
  if (error instanceof SaladClientError) {
    const reason = `${error.reason ?? error.status}: ${error.message}`;
    if (error.reason !== undefined && OF_THE_FILE.has(error.reason)) return { scope: 'instance', reason };
    return { scope: OF_THE_SERVER.has(error.status) ? 'server' : 'attempt', reason };
  }
  const { reason, message } = SaladError.from(error);
  const isSystem = error instanceof Error && 'syscall' in error;
  const text = isSystem ? `${(error as NodeJS.ErrnoException).code}` : message;
  return { scope: OF_THE_FILE.has(reason) ? 'instance' : 'attempt', reason: `${reason}: ${text}` };
}
