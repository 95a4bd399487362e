import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Node flags that collect garbage every so often, so that what a test sees is what stays: left alone, V8 waits for
 * some 60 MiB of it.
 */
export function forcedCollections(everyMs: number): readonly string[] {
  return ['--expose-gc', '--import', `data:text/javascript,setInterval(gc,${everyMs}).unref()`];
}

/** Resident bytes of a process, as Linux tells. */
export function rssBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (!match) throw new Error(`no VmRSS for process ${pid}`);
  return Number(match[1]) * 1024;
}

/** The largest RSS seen while `work` runs. */
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

/** Least-squares slope in units of y per unit of x. */
export function slope(points: readonly { readonly x: number; readonly y: number }[]): number {
  const n = points.length;
  const meanX = points.reduce((sum, { x }) => sum + x, 0) / n;
  const meanY = points.reduce((sum, { y }) => sum + y, 0) / n;
  const covariance = points.reduce((sum, { x, y }) => sum + (x - meanX) * (y - meanY), 0);
  return covariance / points.reduce((sum, { x }) => sum + (x - meanX) ** 2, 0);
}
