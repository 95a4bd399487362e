/** Finds out why a call ended that the server did not end. */
import { SaladError } from '../../errors/index.js';

/** A client cancels its call at about the time at which the call's deadline passes. */
const DEADLINE_TOLERANCE_MS = 100;

/** @param call its deadline, as `nowMs`, is on the wall clock, in ms */
export function cancellation(call: { getDeadline(): Date | number }, nowMs = Date.now()): SaladError {
  return nowMs >= Number(call.getDeadline()) - DEADLINE_TOLERANCE_MS
    ? new SaladError('DEADLINE_EXCEEDED', "the call's deadline passed")
    : new SaladError('CANCELLED', 'the client cancelled');
}
