/** Main thread. Starts engines for the fail-over: back-off after failures, and what earlier starts have measured. */
import type { EngineConfig } from '../config/sections/engine.js';
import type { EngineName } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import type { Logger } from '../telemetry/logger.js';
import { BackOff } from '../util/back-off.js';
import type { PoolModelStatus } from './models.js';
import type { StartOptions } from './start-worker-set.js';
import type { WorkerSet } from './worker-set.js';

export type EngineStart = Omit<StartOptions, 'preference' | 'onError'>;

export interface EngineStarterOptions {
  readonly config: Pick<EngineConfig, 'engineBackOffMs' | 'engineBackOffMaxMs'>;
  readonly logger: Logger;
  /** Starts threads with the first of `engines` that passes the golden checks. */
  readonly startWorkerSet: (start: EngineStart) => Promise<WorkerSet>;
}

/**
 * Limit for an engine that starts while another serves or tiles wait. Its search indexes are already built; its kernels
 * often are not.
 */
const START_LIMIT_MS = 60_000;

export class EngineStarter {
  private readonly backOff: BackOff<EngineName>;
  /** What earlier worker sets measured at warm-up, by engine and model key. */
  private readonly measuredStatuses = new Map<EngineName, ReadonlyMap<string, PoolModelStatus>>();

  /**
   * @param closingSets lost or replaced sets whose threads have not ended yet
   * @param isClosed whether no engine may start any more
   */
  constructor(
    private readonly options: EngineStarterOptions,
    private readonly closingSets: ReadonlySet<WorkerSet>,
    private readonly isClosed: () => boolean,
  ) {
    const { engineBackOffMs, engineBackOffMaxMs } = options.config;
    this.backOff = new BackOff(engineBackOffMs, engineBackOffMaxMs);
  }

  /** Later starts of this engine use what the set has measured. */
  rememberMeasurements({ engine, statuses }: WorkerSet): void {
    this.measuredStatuses.set(engine, statuses);
  }

  /** @param servedMs how long the lost engine had served @returns ms until it may be started again */
  recordLoss(engine: EngineName, now: number, servedMs: number): number {
    return this.backOff.recordFailure(engine, now, servedMs);
  }

  /** 0 where the engine may be started now. */
  remainingMs(engine: EngineName, now: number): number {
    return this.backOff.remainingMs(engine, now);
  }

  /**
   * Starts engines one after another until one passes its golden checks.
   * @returns its worker set; undefined where no engine does
   */
  async startFirstUsable(engines: readonly EngineName[], warmUpMs: number): Promise<WorkerSet | undefined> {
    for (const engine of engines) {
      if (this.isClosed()) return undefined;
      try {
        this.refuseSecondOwner(engine);
        const measured = this.measuredStatuses.get(engine);
        return await this.options.startWorkerSet({
          engines: [engine],
          warmUpMs,
          limitMs: START_LIMIT_MS,
          requireAll: true,
          ...(measured === undefined ? {} : { measured }),
        });
      } catch (error) {
        const retryMs = this.backOff.recordFailure(engine, performance.now());
        this.options.logger.warn({ err: error, engine, retryMs }, 'an engine did not start');
      }
    }
    return undefined;
  }

  /**
   * Where one thread owns the device and hangs, a second owner in this process would be undefined behaviour.
   * @throws SaladError ENGINE_UNAVAILABLE
   */
  private refuseSecondOwner(engine: EngineName): void {
    if ([...this.closingSets].some((set) => set.engine === engine && set.ownsDevice)) {
      throw new SaladError(
        'ENGINE_UNAVAILABLE',
        `${engine} still hangs in a thread of this process; restart the server to use it again`,
      );
    }
  }
}
