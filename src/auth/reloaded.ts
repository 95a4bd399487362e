/** Something read from files, and read again when they change. */
import { SaladError } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';

/** What was read, and a digest of the bytes it was read from. */
export interface Digested {
  readonly digest: string;
}

export interface ReloadOptions<T> {
  /** Throws where the files are not sound. */
  readonly read: () => Promise<T>;
  readonly everyMs: number;
  /** What the log calls it, such as "certificates". */
  readonly what: string;
  readonly logger: Logger;
  readonly onChange?: (value: T) => void;
}

/**
 * Files are polled, not watched: Kubernetes swaps a link two folders above them. What is not sound (half written, a
 * key without its certificate) is told once and left for the next look: the last sound value stays.
 */
export class Reloaded<T extends Digested> {
  private readonly timer: NodeJS.Timeout;
  private reading = false;
  private refused = '';

  private constructor(
    private current: T,
    private readonly options: ReloadOptions<T>,
  ) {
    this.timer = setInterval(() => void this.look(), options.everyMs);
    this.timer.unref();
  }

  /** @throws what `read` throws: nothing starts on files that are not sound */
  static async open<T extends Digested>(options: ReloadOptions<T>): Promise<Reloaded<T>> {
    return new Reloaded(await options.read(), options);
  }

  get value(): T {
    return this.current;
  }

  close(): void {
    clearInterval(this.timer);
  }

  private async look(): Promise<void> {
    if (this.reading) return;
    this.reading = true;
    const { read, logger, what, onChange } = this.options;
    try {
      const value = await read();
      this.refused = '';
      if (value.digest === this.current.digest) return;
      this.current = value;
      onChange?.(value);
      logger.info(`the changed ${what} are used from now on`);
    } catch (error) {
      const why = SaladError.from(error).message;
      if (why !== this.refused) logger.warn({ why }, `changed ${what} are not used`);
      this.refused = why;
    } finally {
      this.reading = false;
    }
  }
}
