/** Prints on stderr that a call is tried again and until when: an image may wait as long as its timeout allows. */
import type { RetryNotice } from '../../../../clients/typescript/src/index.js';
import { note } from '../../shared/output.js';

/** Between two notes about the same image. */
const REPEAT_MS = 10_000;

/**
 * Returns the `onRetry` of one call that starts now. It prints a note at the first retry, whatever the error, and
 * again every ten seconds.
 * @param timeoutMs of all attempts together
 * @param explain the message of an error
 * @param now time in ms since 1970
 */
export function createRetryNotes(
  timeoutMs: number,
  explain: (error: unknown) => string,
  now: () => number = Date.now,
): (notice: Pick<RetryNotice, 'error'>) => void {
  const end = new Date(now() + timeoutMs).toTimeString().slice(0, 8);
  let nextNote = Number.NEGATIVE_INFINITY;
  let isFirst = true;
  return ({ error }) => {
    if (now() < nextNote) return;
    nextNote = now() + REPEAT_MS;
    const how = isFirst ? `retrying for ${timeoutMs / 1000} s, until ${end}` : `still retrying, until ${end}`;
    isFirst = false;
    note(`salad: ${explain(error)}; ${how}`);
  };
}
