/**
 * Memory that nobody holds any more and that V8 has not collected. V8 collects when it allocates, not when time passes:
 * after a burst its buffers, hundreds of megabytes of them, would stay for minutes in a server with little to do.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface GarbageOptions {
  /** Bytes of buffers that are in use for clients now. */
  readonly heldBytes: () => number;
  /** @default 5000 */
  readonly everyMs?: number;
  /** Bytes of all buffers of this thread. @default process.memoryUsage().arrayBuffers */
  readonly bufferBytes?: () => number;
  /** Collects all garbage. @default V8's own, which takes some tens of milliseconds */
  readonly collect?: () => void;
}

const EVERY_MS = 5000;
/** Less is not worth a collection. */
const WORTH_BYTES = 64 * 1024 * 1024;

export class GarbageWatch {
  private readonly timer: NodeJS.Timeout;
  private readonly bufferBytes: () => number;
  private readonly collect: () => void;
  /** Of buffers, those that are there whatever clients do: the least ever seen beside what was held. */
  private ownBytes = Number.POSITIVE_INFINITY;
  private wasWorthIt = false;

  constructor(private readonly options: GarbageOptions) {
    this.bufferBytes = options.bufferBytes ?? (() => process.memoryUsage().arrayBuffers);
    this.collect = options.collect ?? collector();
    this.timer = setInterval(() => this.check(), options.everyMs ?? EVERY_MS).unref();
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** Collects what was garbage the last time, too: V8 has had its chance. */
  check(): void {
    const unheld = this.bufferBytes() - this.options.heldBytes();
    this.ownBytes = Math.max(0, Math.min(this.ownBytes, unheld));
    const isWorthIt = unheld - this.ownBytes > WORTH_BYTES;
    if (isWorthIt && this.wasWorthIt) {
      this.collect();
      this.wasWorthIt = false;
    } else {
      this.wasWorthIt = isWorthIt;
    }
  }
}

function collector(): () => void {
  // Node shows V8's collector to those who ask for it by this flag, at the start or later.
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
