/**
 * Collects garbage while buffers come and go. Packets of the network lie outside of the heap, and V8 waits for 64 MB of
 * them before it collects: as much as the whole program uses otherwise.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Buffers since the last collection, in bytes. */
const GROWTH_BYTES = 6 * 1024 * 1024;
const INTERVAL_MS = 25;

/** Watches from now on, without keeping the program running. @returns what ends it */
export function collectBuffers(): () => void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let lowest = process.memoryUsage().arrayBuffers;
  const timer = setInterval(() => {
    const { arrayBuffers } = process.memoryUsage();
    lowest = Math.min(lowest, arrayBuffers);
    if (arrayBuffers - lowest < GROWTH_BYTES) return;
    collect();
    lowest = process.memoryUsage().arrayBuffers;
  }, INTERVAL_MS);
  timer.unref();
  return () => clearInterval(timer);
}
