import { setTimeout as sleep } from 'node:timers/promises';

const POLL_INTERVAL_MS = 20;
/** Longer than any wait of a test on a busy machine. */
const TIMEOUT_MS = 20_000;

/**
 * Waits for a state that nothing announces: runs the check until it does not throw.
 * @throws the last error of the check after `timeoutMs`
 */
export async function eventually(check: () => unknown, timeoutMs = TIMEOUT_MS): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      await check();
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(POLL_INTERVAL_MS);
    }
  }
}
