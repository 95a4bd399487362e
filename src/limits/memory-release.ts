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
/** Buffers are freed by threads of V8 after its collection: what they leave is given back a second and three later. */
const TRIM_AFTER_MS = [1000, 3000];
/** Longest wait, in checks, before memory that would not go is tried again. */
const PATIENCE_MAX = 8;

export class MemoryRelease {
  private readonly timer: NodeJS.Timeout;
  private readonly residentBytes: () => number;
  private readonly release: () => void;
  /** The least after a release: what is above may be garbage. */
  private floorBytes = 0;
  /** After the last release. */
  private leftBytes = Number.POSITIVE_INFINITY;
  private wasIdle = false;
  private justReleased = false;
  /** Checks to wait before the next try; doubled whenever one was in vain. */
  private patience = 1;
  private waits = 0;

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
    // Memory that clients have taken since says nothing about the release.
    if (this.justReleased && isIdle) this.learn(resident);
    // What came since the last release was not tried in vain.
    if (resident > this.leftBytes + WORTH_BYTES) this.waits = 0;
    this.waits -= 1;
    this.justReleased = isIdle && this.wasIdle && this.waits <= 0 && resident - this.floorBytes > WORTH_BYTES;
    if (this.justReleased) this.release();
    this.wasIdle = isIdle;
  }

  /** What a release has left is the floor, or stands above it: then it may go later, or never. */
  private learn(resident: number): void {
    this.leftBytes = resident;
    const isFirst = this.floorBytes === 0;
    if (isFirst || resident < this.floorBytes) this.floorBytes = resident;
    const isInVain = resident - this.floorBytes > WORTH_BYTES;
    this.patience = isInVain ? Math.min(PATIENCE_MAX, 2 * this.patience) : 1;
    this.waits = this.patience;
  }
}

function releaser(): () => void {
  // Node shows V8's collector to those who ask for it by this flag, at the start or later.
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const trim = trimmer();
  return () => {
    collect();
    for (const ms of TRIM_AFTER_MS) setTimeout(() => void trim.then((run) => run()), ms).unref();
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
