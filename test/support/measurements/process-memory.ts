import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Node flags that collect garbage at an interval, so that a test measures memory in use only. V8 alone would wait for
 * some 60 MiB of garbage.
 */
export function forcedCollections(everyMs: number): readonly string[] {
  return ['--expose-gc', '--import', `data:text/javascript,setInterval(gc,${everyMs}).unref()`];
}

/** Memory of one thread after a collection: its heap, and the buffers outside of it. */
export interface ThreadMemory {
  readonly thread: number;
  /** Of the system's clock. */
  readonly atMs: number;
  readonly bytes: number;
}

/** As `forcedCollections`; every thread appends what it holds after each collection to `file`. */
export function recordedCollections(everyMs: number, file: string): readonly string[] {
  const program =
    `import{appendFileSync}from'node:fs';import{threadId}from'node:worker_threads';setInterval(()=>{gc();` +
    `const{heapUsed,external}=process.memoryUsage();` +
    `appendFileSync(${JSON.stringify(file)},[threadId,Date.now(),heapUsed+external].join(' ')+'\\n')},${everyMs}).unref()`;
  return ['--expose-gc', '--import', `data:text/javascript,${encodeURIComponent(program)}`];
}

/** What the threads of a process wrote to the file of `recordedCollections`. */
export function readCollections(file: string): readonly ThreadMemory[] {
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => {
    const [thread = NaN, atMs = NaN, bytes = NaN] = line.split(' ').map(Number);
    return { thread, atMs, bytes };
  });
}

/** Resident memory of a process, in bytes, as reported by Linux. */
export function rssBytes(pid: number): number {
  return statusBytes(pid, 'VmRSS');
}

/** The largest resident memory that a process has had, in bytes, as reported by Linux. */
export function highestRssBytes(pid: number): number {
  return statusBytes(pid, 'VmHWM');
}

function statusBytes(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (!match) throw new Error(`no ${field} for process ${pid}`);
  return Number(match[1]) * 1024;
}

/** The largest RSS while `work` runs, read every 20 ms. */
export async function peakRssBytes(pid: number, work: () => Promise<void>): Promise<number> {
  let peak = rssBytes(pid);
  const timer = setInterval(() => {
    peak = Math.max(peak, rssBytes(pid));
  }, 20);
  try {
    await work();
    await sleep(40);
    return Math.max(peak, rssBytes(pid));
  } finally {
    clearInterval(timer);
  }
}

const SETTLED_CHANGE_BYTES = 1024 * 1024;
const SETTLED_INTERVAL_MS = 250;
const SETTLED_INTERVALS_MAX = 80;

/** RSS once it has changed by less than 1 MiB in half a second, or after 20 s. */
export async function settledRssBytes(pid: number): Promise<number> {
  let unchanged = 0;
  let last = rssBytes(pid);
  for (let interval = 0; unchanged < 2 && interval < SETTLED_INTERVALS_MAX; interval++) {
    await sleep(SETTLED_INTERVAL_MS);
    const current = rssBytes(pid);
    unchanged = Math.abs(current - last) < SETTLED_CHANGE_BYTES ? unchanged + 1 : 0;
    last = current;
  }
  return last;
}

/**
 * Slope in units of y per unit of x: the median of the slopes between all pairs of points (Theil and Sen), which a few
 * points out of line do not change.
 */
export function slope(points: readonly { readonly x: number; readonly y: number }[]): number {
  const slopes = points.flatMap((from, index) =>
    points.slice(index + 1).map((to) => (to.y - from.y) / (to.x - from.x)),
  );
  slopes.sort((a, b) => a - b);
  const middle = Math.floor(slopes.length / 2);
  const upper = slopes[middle] ?? NaN;
  return slopes.length % 2 === 1 ? upper : ((slopes[middle - 1] ?? NaN) + upper) / 2;
}
