/** Why a call ended that the server did not end. */
import { SaladError } from '../../errors/index.js';

/** A client whose deadline passes cancels its call at about that time. */
const DEADLINE_TOLERANCE_MS = 100;

/** @param call with its deadline on the clock of the day, in ms */
export function cancellation(call: { getDeadline(): Date | number }): SaladError {
  return Date.now() >= Number(call.getDeadline()) - DEADLINE_TOLERANCE_MS
    ? new SaladError('DEADLINE_EXCEEDED', "the call's deadline passed")
    : new SaladError('CANCELLED', 'the client cancelled');
}
