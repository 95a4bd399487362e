/**
 * The deliveries to one destination that failed since the start of the program: whether it is away for all of them, or
 * one alone does not get through.
 */
import { ATTEMPTS_MAX } from '../inbox/instance.js';
import { type BackoffOptions, waitMs } from '../scoring/backoff.js';
import type { FailureCause } from './outcome.js';

/** Before an object is sent again to an archive that is there. */
export const SEND_AGAIN: BackoffOptions = { initialMs: 10_000, maxMs: 1_800_000 };
/** While a destination is away. */
const AWAY: BackoffOptions = { initialMs: 1000, maxMs: 300_000 };

interface Failures {
  readonly attempts: number;
  /** Of those the ones that lie in the object. */
  readonly counted: number;
  /** Value of `taken` at the last attempt. */
  readonly taken: number;
}

/** What follows from a failure. */
export interface NextAttempt {
  /** It has failed often enough: there is none. */
  readonly isGivenUp: boolean;
  /** Until this delivery is tried again. */
  readonly delayMs: number;
  /** Until anything is sent to the destination. */
  readonly pauseMs: number;
}

export class FailedDeliveries {
  /** Instances whose delivery failed since the destination took an object: the others come first. */
  readonly heldBack = new Set<number>();
  /** Objects that the destination took. */
  private taken = 0;
  /** Failures since then for which the destination pauses. */
  private consecutive = 0;
  private readonly failures = new Map<number, Failures>();

  /** @param backoff replaces both, for tests */
  constructor(private readonly backoff?: BackoffOptions) {}

  /** The destination took an object. */
  took(): void {
    this.taken += 1;
    this.isThere();
  }

  /** Nothing of the delivery failed. */
  passed(instance: number): void {
    this.failures.delete(instance);
    this.isThere();
  }

  failed(instance: number, cause: FailureCause = 'archive'): NextAttempt {
    const before = this.failures.get(instance) ?? { attempts: 0, counted: 0, taken: this.taken };
    const tookOthers = this.taken > before.taken;
    const isCounted = cause === 'object' || (cause === 'archiveOrObject' && tookOthers);
    const counted = before.counted + Number(isCounted);
    const attempts = before.attempts + 1;
    if (counted >= ATTEMPTS_MAX) {
      this.failures.delete(instance);
      return { isGivenUp: true, delayMs: 0, pauseMs: 0 };
    }
    this.failures.set(instance, { attempts, counted, taken: this.taken });
    this.heldBack.add(instance);
    if (counted > 0 || tookOthers) {
      const backoff = this.backoff ?? (counted > 0 ? SEND_AGAIN : AWAY);
      return { isGivenUp: false, delayMs: waitMs(attempts, backoff), pauseMs: 0 };
    }
    this.consecutive += 1;
    return { isGivenUp: false, delayMs: 0, pauseMs: waitMs(this.consecutive, this.backoff ?? AWAY) };
  }

  private isThere(): void {
    this.consecutive = 0;
    this.heldBack.clear();
  }
}
