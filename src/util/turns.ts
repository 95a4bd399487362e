/** Runs long work on the event loop in steps, so that other streams are served between them. */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Time of work in one turn, in ms: too short to be noticed by a client, and long compared with the cost of a turn. */
export const TURN_MS = 5;

/**
 * Runs the steps of a generator to its end; yields to other events after every `TURN_MS`.
 * @param signal checked before every turn
 * @returns what the generator returns
 * @throws the reason of `signal` where it aborts; errors of the generator
 */
export async function inTurns<T>(steps: Generator<void, T>, signal?: AbortSignal): Promise<T> {
  for (;;) {
    signal?.throwIfAborted();
    const until = performance.now() + TURN_MS;
    do {
      const step = steps.next();
      if (step.done === true) return step.value;
    } while (performance.now() < until);
    await nextTurn();
  }
}
