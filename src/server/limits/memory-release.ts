/**
 * Memory that nobody uses any more is given back to the system while the server has nothing to do. V8 collects when it
 * allocates, not when time passes, and the C library keeps what was freed for the next: after a burst hundreds of
 * megabytes would stay for as long as the server runs.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface MemoryReleaseOptions {
  /** Nothing is held for clients now, so that nobody waits for a collection. */
  readonly isIdle: () => boolean;
  /** @default 5000 */
  readonly everyMs?: number;
  /** @default RSS of this process */
  readonly residentBytes?: () => number;
  /** Gives back what can be given back. @default all of V8's garbage, and the C library's free memory */
  readonly release?: () => void;
}

const EVERY_MS = 5000;
/** A smaller growth is not worth a collection, which takes some tens of milliseconds. */
const WORTH_BYTES = 64 * 1024 * 1024;
/** Freed by threads of V8 after its collection. */
const SWEEP_MS = 1000;

export class MemoryRelease {
  private readonly timer: NodeJS.Timeout;
  private readonly residentBytes: () => number;
  private readonly release: () => void;
  /** Memory of the server after its last release; more than that may be garbage. */
  private floorBytes = 0;
  private wasIdle = false;
  private justReleased = false;

  constructor(private readonly options: MemoryReleaseOptions) {
    this.residentBytes = options.residentBytes ?? (() => process.memoryUsage.rss());
    this.release = options.release ?? releaser();
    this.timer = setInterval(() => this.check(), options.everyMs ?? EVERY_MS).unref();
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** Releases memory where it has grown, and the server was idle now and the last time. */
  check(): void {
    const isIdle = this.options.isIdle();
    const resident = this.residentBytes();
    if (this.justReleased) this.floorBytes = resident;
    this.justReleased = isIdle && this.wasIdle && resident - this.floorBytes > WORTH_BYTES;
    if (this.justReleased) this.release();
    this.wasIdle = isIdle;
  }
}

function releaser(): () => void {
  // Node shows V8's collector to those who ask for it by this flag, at the start or later.
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const trim = trimmer();
  return () => {
    collect();
    setTimeout(() => void trim.then((run) => run()), SWEEP_MS).unref();
  };
}

/** glibc's malloc_trim, in a thread of its own; nothing where there is no glibc, or no koffi to call it. */
async function trimmer(): Promise<() => void> {
  try {
    const { default: koffi } = await import('koffi');
    const mallocTrim = koffi.load('libc.so.6').func('int malloc_trim(size_t)');
    return () => mallocTrim.async(0, () => {});
  } catch {
    return () => {};
  }
}
