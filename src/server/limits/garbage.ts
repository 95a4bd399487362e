/**
 * Memory that nobody holds any more and that V8 has not collected. V8 collects when it allocates, not when time passes:
 * after a burst its buffers, hundreds of megabytes of them, would stay for minutes in a server with little to do.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface GarbageOptions {
  /** Nothing is held for clients now, and so nobody waits for a collection. */
  readonly isIdle: () => boolean;
  /** @default 5000 */
  readonly everyMs?: number;
  /** Bytes of this thread's objects and buffers, garbage included. @default what V8 says */
  readonly usedBytes?: () => number;
  /** Collects all garbage. @default V8's own, which takes some tens of milliseconds */
  readonly collect?: () => void;
}

const EVERY_MS = 5000;
/** Less is not worth a collection. */
const WORTH_BYTES = 64 * 1024 * 1024;

export class GarbageWatch {
  private readonly timer: NodeJS.Timeout;
  private readonly usedBytes: () => number;
  private readonly collect: () => void;
  /** What is there whatever clients do: the least ever seen. */
  private ownBytes = Number.POSITIVE_INFINITY;
  private wasWorthIt = false;

  constructor(private readonly options: GarbageOptions) {
    this.usedBytes = options.usedBytes ?? usedBytes;
    this.collect = options.collect ?? collector();
    this.timer = setInterval(() => this.check(), options.everyMs ?? EVERY_MS).unref();
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** Collects what was garbage the last time, too: V8 has had its chance. */
  check(): void {
    const used = this.usedBytes();
    this.ownBytes = Math.min(this.ownBytes, used);
    const isWorthIt = used - this.ownBytes > WORTH_BYTES && this.options.isIdle();
    if (isWorthIt && this.wasWorthIt) {
      this.collect();
      this.wasWorthIt = false;
    } else {
      this.wasWorthIt = isWorthIt;
    }
  }
}

function usedBytes(): number {
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  return arrayBuffers + heapUsed;
}

function collector(): () => void {
  // Node shows V8's collector to those who ask for it by this flag, at the start or later.
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
