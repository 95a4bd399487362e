/**
 * Releases unused memory to the system while the server is idle. V8 collects garbage when it allocates, not as time
 * passes, and the C library keeps freed memory for later allocations: without this, hundreds of megabytes would stay
 * allocated after a burst for as long as the server runs.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface MemoryReleaseOptions {
  /** Whether the server holds nothing for clients now, so that a collection delays none of them. */
  readonly isIdle: () => boolean;
  /** @default 5000 */
  readonly checkIntervalMs?: number;
  /** @default RSS of this process */
  readonly residentBytes?: () => number;
  /** @default collects V8's garbage and trims the C library's free memory */
  readonly release?: () => void;
}

const CHECK_INTERVAL_MS = 5000;
/** Growth below this is not worth a collection, which takes some tens of milliseconds. */
const MIN_GROWTH_BYTES = 64 * 1024 * 1024;
/** Threads of V8 free buffers after its collection: the C library is trimmed this long after it, and again. */
const TRIM_DELAYS_MS = [1000, 3000];
/** Most checks to wait before a release is tried again that has released too little. */
const BACKOFF_CHECKS_MAX = 8;

export class MemoryRelease {
  private readonly timer: NodeJS.Timeout;
  private readonly residentBytes: () => number;
  private readonly release: () => void;
  /** Smallest memory after any release: memory above it may be garbage. 0 before the first release. */
  private floorBytes = 0;
  /** Memory after the last release. */
  private afterReleaseBytes = Number.POSITIVE_INFINITY;
  private wasIdle = false;
  private hasJustReleased = false;
  /** Checks to wait after a release; doubled whenever one has released too little. */
  private backoffChecks = 1;
  private checksLeft = 0;

  constructor(private readonly options: MemoryReleaseOptions) {
    this.residentBytes = options.residentBytes ?? (() => process.memoryUsage.rss());
    this.release = options.release ?? createRelease();
    const intervalMs = options.checkIntervalMs ?? CHECK_INTERVAL_MS;
    this.timer = setInterval(() => this.check(), intervalMs).unref();
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** Releases memory if it has grown and the server is idle at this check and was idle at the one before. */
  check(): void {
    const isIdle = this.options.isIdle();
    const residentBytes = this.residentBytes();
    // While the server is busy, memory includes new requests and does not show the effect of the release.
    if (this.hasJustReleased && isIdle) this.recordResult(residentBytes);
    // New growth is tried at once: the last release did not apply to it.
    if (residentBytes > this.afterReleaseBytes + MIN_GROWTH_BYTES) this.checksLeft = 0;
    this.checksLeft -= 1;
    const hasGrown = residentBytes - this.floorBytes > MIN_GROWTH_BYTES;
    this.hasJustReleased = isIdle && this.wasIdle && this.checksLeft <= 0 && hasGrown;
    if (this.hasJustReleased) this.release();
    this.wasIdle = isIdle;
  }

  /** Updates the floor, or increases the backoff where memory is still above it: it may be released later, or never. */
  private recordResult(residentBytes: number): void {
    this.afterReleaseBytes = residentBytes;
    const isFirst = this.floorBytes === 0;
    if (isFirst || residentBytes < this.floorBytes) this.floorBytes = residentBytes;
    const isAboveFloor = residentBytes - this.floorBytes > MIN_GROWTH_BYTES;
    this.backoffChecks = isAboveFloor ? Math.min(BACKOFF_CHECKS_MAX, 2 * this.backoffChecks) : 1;
    this.checksLeft = this.backoffChecks;
  }
}

function createRelease(): () => void {
  // Node provides `gc` to new contexts once this flag is set, at the start or later.
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const trimLoaded = loadTrim();
  return () => {
    collectGarbage();
    for (const delayMs of TRIM_DELAYS_MS) {
      setTimeout(() => void trimLoaded.then((trim) => trim()), delayMs).unref();
    }
  };
}

/** @returns glibc's malloc_trim, run in a separate thread; does nothing without glibc, or without koffi to call it */
async function loadTrim(): Promise<() => void> {
  try {
    const { default: koffi } = await import('koffi');
    const mallocTrim = koffi.load('libc.so.6').func('int malloc_trim(size_t)');
    return () => mallocTrim.async(0, () => {});
  } catch {
    return () => {};
  }
}
