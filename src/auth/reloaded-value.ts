/** A value that is read from files, and read again when the files change. */
import { SaladError } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';

export interface Digested {
  /** Digest of the bytes that the value was read from. */
  readonly digest: string;
}

export interface ReloadOptions<T> {
  /** @throws where the files are invalid */
  readonly read: () => Promise<T>;
  readonly intervalMs: number;
  /** What the value is, for the log, such as "certificates". */
  readonly description: string;
  readonly logger: Logger;
  readonly onChange?: (value: T) => void;
}

/**
 * Files are polled, not watched, because Kubernetes replaces a link two folders above them. Invalid files (half
 * written, or a key without its certificate) are logged once and read again at the next poll; until then the last valid
 * value is used.
 */
export class ReloadedValue<T extends Digested> {
  private readonly timer: NodeJS.Timeout;
  private isReading = false;
  /** Message of the last failure, which is not logged again. */
  private lastFailure = '';

  private constructor(
    private current: T,
    private readonly options: ReloadOptions<T>,
  ) {
    this.timer = setInterval(() => void this.reload(), options.intervalMs);
    this.timer.unref();
  }

  /** @throws what `read` throws: a server must not start with invalid files */
  static async open<T extends Digested>(options: ReloadOptions<T>): Promise<ReloadedValue<T>> {
    return new ReloadedValue(await options.read(), options);
  }

  get value(): T {
    return this.current;
  }

  close(): void {
    clearInterval(this.timer);
  }

  private async reload(): Promise<void> {
    if (this.isReading) return;
    this.isReading = true;
    const { read, logger, description, onChange } = this.options;
    try {
      const value = await read();
      this.lastFailure = '';
      if (value.digest === this.current.digest) return;
      this.current = value;
      onChange?.(value);
      logger.info(`the files of the ${description} have changed and were loaded`);
    } catch (error) {
      const why = SaladError.from(error).message;
      if (why !== this.lastFailure) {
        logger.warn({ why }, `the changed ${description} are invalid; the last valid ones stay in use`);
      }
      this.lastFailure = why;
    } finally {
      this.isReading = false;
    }
  }
}
