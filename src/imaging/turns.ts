/** Long work on the event loop, split so that other streams get their turn between two steps. */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Work of one turn, in ms: far below what a client notices, far above what a turn costs. */
export const TURN_MS = 5;

/**
 * Runs the steps of a generator to its end; other events are handled whenever `TURN_MS` have passed.
 * @param signal checked before every turn
 * @returns what the generator returns
 * @throws the reason of `signal` where it aborts, and whatever the generator throws
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
