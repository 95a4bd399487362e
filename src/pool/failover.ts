/**
 * Main thread. Chooses the worker set that serves. When its engine is lost, the next engine in the fallback order takes
 * over (fail-over), from a standby where there is one. A better engine serves again once it passes its checks
 * (failback).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineConfig } from '../config/sections/engine.js';
import { ENGINE_NAMES, type EngineName } from '../engines/engine.js';
import type { Logger } from '../telemetry/logger.js';
import { SerialQueue } from '../util/serial-queue.js';
import { EngineStarter, type EngineStarterOptions } from './engine-starter.js';
import type { EngineLoss, LossKind } from './messages.js';
import type { WorkerSet } from './worker-set.js';

export interface FailoverOptions extends EngineStarterOptions {
  readonly config: EngineStarterOptions['config'] & Pick<EngineConfig, 'engineStandbyDelayMs'>;
}

/** Totals since the start, for telemetry. */
export interface FailoverCounts {
  /** Engines lost while they served. */
  readonly losses: Readonly<Record<LossKind, number>>;
  /** Times a better engine served again. */
  readonly failbacks: number;
}

/** Warm-up budget of an engine that starts while no acquisition waits for it. */
export const WARM_UP_MS = 600;
/** Warm-up budget while acquisitions wait for an engine: a less exact batch plan, sooner. */
const TAKE_OVER_WARM_UP_MS = 150;
/** A start that takes longer to end is not waited for: a native engine cannot be interrupted while it loads. */
const START_END_MS = 1000;

export class Failover {
  /** The engine chosen at the start and those after it in the fallback order, best first. */
  readonly fallbackOrder: readonly EngineName[];
  private servingSet: WorkerSet | undefined;
  private servingSince = 0;
  /** A lower engine, checked and idle. */
  private standbySet: WorkerSet | undefined;
  private readonly starter: EngineStarter;
  private readonly logger: Logger;
  /** Lost or replaced sets whose threads have not ended yet. */
  private readonly closingSets = new Set<WorkerSet>();
  private readonly listeners: (() => void)[] = [];
  private readonly losses: Record<LossKind, number> = { died: 0, failed: 0, hung: 0 };
  private failbacks = 0;
  private readonly closing = new AbortController();
  /** Engines start one after another. */
  private readonly starts = new SerialQueue();
  private failbackTimer: NodeJS.Timeout | undefined;
  private standbyTimer: NodeJS.Timeout | undefined;

  constructor(
    /** The set that serves or, while none does, the one that served last. */
    private latestSet: WorkerSet,
    private readonly options: FailoverOptions,
  ) {
    this.logger = options.logger;
    this.starter = new EngineStarter(options, this.closingSets, () => this.isClosed);
    this.fallbackOrder = ENGINE_NAMES.slice(ENGINE_NAMES.indexOf(latestSet.engine));
    this.serveWith(latestSet);
  }

  /** Undefined from the loss of an engine until another has taken over. */
  get serving(): WorkerSet | undefined {
    return this.servingSet;
  }

  /** The set that serves or, while none does, the one that served last. */
  get latest(): WorkerSet {
    return this.latestSet;
  }

  /** The engine that takes over at once when the present one is lost. */
  get standbyEngine(): EngineName | undefined {
    return this.standbySet?.engine;
  }

  get counts(): FailoverCounts {
    return { losses: { ...this.losses }, failbacks: this.failbacks };
  }

  get isClosed(): boolean {
    return this.closing.signal.aborted;
  }

  /** The set that takes over at once when the present one is lost. */
  get standby(): WorkerSet | undefined {
    return this.standbySet;
  }

  /** Ends the standby; another is started after the usual delay. */
  closeStandby(): void {
    if (this.standbySet === undefined) return;
    this.closeWhenIdle(this.standbySet);
    this.standbySet = undefined;
    this.scheduleStandby();
  }

  /** Called whenever an engine begins to serve or is lost. */
  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Runs `work` while no engine starts. Sets may be lost meanwhile, and the standby may begin to serve. */
  betweenStarts<T>(work: () => Promise<T>): Promise<T> {
    return this.starts.run(work);
  }

  /** Waits for batches in engines, then ends the threads. An engine that is starting ends when it has started. */
  async close(): Promise<void> {
    this.closing.abort();
    clearTimeout(this.failbackTimer);
    clearTimeout(this.standbyTimer);
    await Promise.race([this.starts.drained(), sleep(START_END_MS, undefined, { ref: false })]);
    await Promise.all([...this.closingSets, this.servingSet, this.standbySet].map((set) => set?.close()));
  }

  private serveWith(set: WorkerSet): void {
    set.onLoss = (loss) => this.handleLoss(set, loss);
    this.servingSet = set;
    this.latestSet = set;
    this.servingSince = performance.now();
    this.starter.rememberMeasurements(set);
    this.scheduleFailback();
    this.scheduleStandby();
    this.notifyListeners();
  }

  private notifyListeners(): void {
    for (const listener of this.listeners) listener();
  }

  /** The threads end once every task is answered; threads that hang never end. */
  private closeWhenIdle(set: WorkerSet): void {
    this.closingSets.add(set);
    set
      .closeWhenIdle()
      .catch((error: unknown) =>
        this.logger.error({ err: error, engine: set.engine }, 'worker threads did not end'),
      )
      .finally(() => this.closingSets.delete(set));
  }

  private handleLoss(set: WorkerSet, error: EngineLoss): void {
    if (set !== this.servingSet) return;
    const now = performance.now();
    this.servingSet = undefined;
    clearTimeout(this.failbackTimer);
    this.losses[error.loss] += 1;
    const retryMs = this.starter.recordLoss(set.engine, now, now - this.servingSince);
    this.logger.error({ err: error, engine: set.engine, loss: error.loss, retryMs }, 'an engine was lost');
    this.closeWhenIdle(set);
    const standby = this.standbySet;
    this.standbySet = undefined;
    if (standby !== undefined) {
      this.serveWith(standby);
      this.logTakeover(set.engine, now);
    } else {
      this.notifyListeners();
      this.enqueueStart(() => this.takeOver(set.engine, now));
    }
  }

  private logTakeover(lost: EngineName, lostAt: number): void {
    const { engine, device } = this.latestSet;
    const switchMs = Math.round(performance.now() - lostAt);
    this.logger.warn({ lost, engine, device, switchMs }, 'an engine took over');
  }

  /**
   * Tries the engines after the lost one, best first, then the order from its start: a lost engine often works again
   * after a fresh start.
   */
  private async takeOver(lost: EngineName, lostAt: number): Promise<void> {
    const next = this.fallbackOrder.indexOf(lost) + 1;
    const candidates = [...this.fallbackOrder.slice(next), ...this.fallbackOrder.slice(0, next)];
    while (this.servingSet === undefined && !this.isClosed) {
      const set = await this.startFirstUsable(candidates, TAKE_OVER_WARM_UP_MS);
      if (set !== undefined) {
        this.serveWith(set);
        this.logTakeover(lost, lostAt);
        return;
      }
      const retryMs = this.options.config.engineBackOffMs;
      this.logger.error({ retryMs }, 'no engine can serve; tiles wait for the next try');
      await this.pause(retryMs);
    }
  }

  /** Starts a better engine once its back-off is over, while the present one continues to serve. */
  private scheduleFailback(): void {
    clearTimeout(this.failbackTimer);
    const better = this.betterEngines();
    if (better.length === 0 || this.isClosed) return;
    const now = performance.now();
    const waitMs = Math.min(...better.map((engine) => this.starter.remainingMs(engine, now)));
    this.failbackTimer = setTimeout(() => this.enqueueStart(() => this.tryFailback()), waitMs);
    this.failbackTimer.unref();
  }

  private async tryFailback(): Promise<void> {
    const before = this.servingSet;
    if (before === undefined) return;
    const now = performance.now();
    const due = this.betterEngines().filter((engine) => this.starter.remainingMs(engine, now) === 0);
    const set = await this.startFirstUsable(due, WARM_UP_MS);
    if (set === undefined) return this.scheduleFailback();
    // Another set may serve by now: `before` can have been lost meanwhile.
    const replaced = this.servingSet;
    this.serveWith(set);
    if (replaced !== undefined) this.keepAsStandby(replaced);
    this.failbacks += 1;
    const recoveryMs = Math.round(performance.now() - now);
    this.logger.info({ engine: set.engine, instead: before.engine, recoveryMs }, 'failback complete');
  }

  /** The set that has just served is the best standby: it is loaded, and it worked under load. */
  private keepAsStandby(set: WorkerSet): void {
    if (this.standbySet !== undefined) this.closeWhenIdle(this.standbySet);
    this.standbySet = undefined;
    if (this.options.config.engineStandbyDelayMs > 0) this.standbySet = set;
    else this.closeWhenIdle(set);
  }

  private scheduleStandby(): void {
    clearTimeout(this.standbyTimer);
    const { engineStandbyDelayMs } = this.options.config;
    if (engineStandbyDelayMs === 0 || this.isClosed) return;
    const prepare = () => this.enqueueStart(() => this.prepareStandby());
    this.standbyTimer = setTimeout(prepare, engineStandbyDelayMs);
    this.standbyTimer.unref();
  }

  /** Loading and checking every model takes seconds; with a standby no tile waits for it. */
  private async prepareStandby(): Promise<void> {
    if (this.standbySet !== undefined || this.servingSet === undefined) return;
    const lower = this.fallbackOrder.slice(this.fallbackOrder.indexOf(this.latestSet.engine) + 1);
    const set = await this.startFirstUsable(lower, WARM_UP_MS);
    if (set === undefined) return;
    this.logger.info({ engine: set.engine, device: set.device }, 'the standby engine is ready');
    if (this.servingSet !== undefined) this.standbySet = set;
    else this.serveWith(set);
  }

  /** @returns undefined also where the pool was closed meanwhile */
  private async startFirstUsable(engines: readonly EngineName[], warmUpMs: number) {
    const set = await this.starter.startFirstUsable(engines, warmUpMs);
    if (set === undefined || !this.isClosed) return set;
    this.closeWhenIdle(set);
    return undefined;
  }

  private betterEngines(): readonly EngineName[] {
    return this.fallbackOrder.slice(0, this.fallbackOrder.indexOf(this.latestSet.engine));
  }

  private enqueueStart(start: () => Promise<void>): void {
    this.starts.run(start).catch((error: unknown) => this.logger.error({ err: error }, 'fail-over failed'));
  }

  private async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.closing.signal, ref: false }).catch(() => {});
  }
}
