/** The one place where an error becomes the end of a call: it is mapped once and logged once. */
import type { ServiceError } from '@grpc/grpc-js';
import { type ErrorReason, SaladError } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';
import type { Telemetry } from '../telemetry/telemetry.js';
import { toServiceError } from '../wire/status.js';

/** Not the caller's fault, and not ours: worth a line in the log that is kept. */
const WARNED: ReadonlySet<ErrorReason> = new Set(['CREDENTIALS_UNVERIFIABLE']);

export interface FailuresOptions {
  readonly retryDelayMs: number;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
}

/** What a log line says of a call. */
export interface CallFacts {
  readonly path: string;
  readonly peer: string;
}

export class Failures {
  constructor(private readonly options: FailuresOptions) {}

  /** @returns what grpc-js takes as the call's end */
  toServiceError(thrown: unknown, call: CallFacts): ServiceError {
    const { logger, telemetry, retryDelayMs } = this.options;
    const error = SaladError.from(thrown);
    const facts = { reason: error.reason, ...call, ...telemetry.idsOf(thrown) };
    if (error.kind === 'internal') logger.error({ err: thrown, ...facts }, 'call failed');
    else if (WARNED.has(error.reason)) logger.warn({ err: error, ...facts }, error.message);
    else logger.debug(facts, error.message);
    return toServiceError(error, retryDelayMs);
  }
}

/** A client whose deadline passes cancels its call at about that time. */
const DEADLINE_TOLERANCE_MS = 100;

/** Why a call ended that the server did not end. @param call with its deadline on the clock of the day, in ms */
export function cancellation(call: { getDeadline(): Date | number }): SaladError {
  return Date.now() >= Number(call.getDeadline()) - DEADLINE_TOLERANCE_MS
    ? new SaladError('DEADLINE_EXCEEDED', "the call's deadline passed")
    : new SaladError('CANCELLED', 'the client cancelled');
}
