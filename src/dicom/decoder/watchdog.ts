/**
 * Ends this process when it exceeds its memory limit, or when its parent has ended. A separate thread checks this, because
 * a running codec blocks its own thread.
 */
import { Worker } from 'node:worker_threads';
import { MEMORY_SIGNAL } from './messages.js';

/** Indices in the memory that both threads share. */
const BUSY = 0;
const LIMIT_MIB = 1;

/** Intervals of the check while a request is served, and while none is, in ms. */
const BUSY_MS = 20;
const IDLE_MS = 1000;

const MIB = 1024 * 1024;

/** As text, so that it works both compiled and from source. */
const THREAD = `
  const { workerData: { shared, parent, signal, busyMs, idleMs } } = require('node:worker_threads');
  const state = new Int32Array(shared);
  for (;;) {
    const busy = Atomics.load(state, ${BUSY});
    Atomics.wait(state, ${BUSY}, busy, busy ? busyMs : idleMs);
    const limit = Atomics.load(state, ${LIMIT_MIB});
    if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL');
    if (Atomics.load(state, ${BUSY}) && process.memoryUsage.rss() > limit * ${MIB}) process.kill(process.pid, signal);
  }
`;

export class Watchdog {
  private readonly state: Int32Array;

  constructor() {
    const shared = new SharedArrayBuffer(8);
    this.state = new Int32Array(shared);
    const workerData = {
      shared,
      parent: process.ppid,
      signal: MEMORY_SIGNAL,
      busyMs: BUSY_MS,
      idleMs: IDLE_MS,
    };
    const resourceLimits = { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 2 };
    new Worker(THREAD, { eval: true, workerData, resourceLimits }).unref();
  }

  /** @param growthBytesMax how much more resident memory than now this process may have until `end` */
  begin(growthBytesMax: number): void {
    Atomics.store(this.state, LIMIT_MIB, Math.ceil((process.memoryUsage.rss() + growthBytesMax) / MIB));
    this.setBusy(1);
  }

  end(): void {
    this.setBusy(0);
  }

  private setBusy(value: 0 | 1): void {
    Atomics.store(this.state, BUSY, value);
    Atomics.notify(this.state, BUSY);
  }
}
