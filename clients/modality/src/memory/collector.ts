/**
 * Collects garbage while buffers come and go. Packets of the network lie outside of the heap, and V8 waits for 64 MB of
 * them before it collects: as much as the whole program uses otherwise.
 */
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Buffers since the last collection, in bytes. */
const GROWTH_BYTES = 3 * 1024 * 1024;
/** Buffers since the last full collection that collections of the young generation left, in bytes. */
const LEFT_BYTES = 3 * GROWTH_BYTES;
const INTERVAL_MS = 25;

let check = () => {};

/**
 * Collects if many buffers are held. To be called where they come faster than the timer, such as copies of pixels. Does
 * nothing before `collectBuffers`.
 */
export function checkBuffers(): void {
  check();
}

/** Watches from now on, without keeping the program running. @returns what ends it */
export function collectBuffers(): () => void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options?: { readonly type: 'minor' }) => void;
  // Buffers and little else; `process.memoryUsage` reads files of the system for its other figures.
  const held = () => getHeapStatistics().external_memory;
  let lowest = held();
  let afterFull = lowest;
  check = () => {
    const now = held();
    lowest = Math.min(lowest, now);
    afterFull = Math.min(afterFull, now);
    if (now - lowest < GROWTH_BYTES) return;
    // Packets die young: it takes a hundredth of the time of a full one.
    collect({ type: 'minor' });
    lowest = held();
    if (lowest - afterFull < LEFT_BYTES) return;
    collect();
    lowest = afterFull = held();
  };
  const timer = setInterval(checkBuffers, INTERVAL_MS);
  timer.unref();
  return () => {
    check = () => {};
    clearInterval(timer);
  };
}
