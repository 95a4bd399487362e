/**
 * Scores batches with the best engine that can, and while that one is lost with the next in the fallback order. Nothing
 * but numbers and names crosses the threads.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ENGINE_NAMES, type EngineName, type EngineRun } from '../engines/engine.js';
import { enginesFor } from '../engines/selection/select.js';
import { SaladError } from '../errors/index.js';
import { type Logger, silentLogger } from '../telemetry/logger.js';
import { BackOff } from './back-off.js';
import { EngineLoss, type LossKind } from './messages.js';
import type { PoolModelStatus } from './models.js';
import { type PoolSlot, type StartOptions, WorkerSet, type WorkerSetOptions } from './worker-set.js';

export type { PoolModel, PoolModelStatus } from './models.js';
export type { PoolSlot } from './worker-set.js';

export interface EnginePoolOptions extends Omit<WorkerSetOptions, 'watchdogMs'> {
  readonly engine: EngineName | 'auto';
  /** @default 5000 */
  readonly watchdogMs?: number;
  /** Wait before a lost engine is tried again; doubled with every failure in a row. @default 30 s, at most 10 min */
  readonly backOffMs?: number;
  readonly backOffMaxMs?: number;
  /** Wait before the next engine is made ready beside the one that serves; 0 = never. @default 0 */
  readonly standbyDelayMs?: number;
  readonly logger?: Logger;
}

/** Totals since the start, for telemetry. */
export interface FailoverCounts {
  /** Engines lost while they served. */
  readonly losses: Readonly<Record<LossKind, number>>;
  /** Times a better engine came back. */
  readonly recoveries: number;
}

const WARM_UP_MS = 600;
/** Acquisitions wait: better a rough plan now. */
const TAKE_OVER_WARM_UP_MS = 150;
/** For an engine that starts while others serve or tiles wait: its indexes are built, its kernels often not. */
const START_LIMIT_MS = 60_000;

export class EnginePool {
  private serving: WorkerSet | undefined;
  private servingSince = 0;
  /** A lower engine, proven and idle, that takes over at once. */
  private standby: WorkerSet | undefined;
  /** Why models that were asked for are not served, by key: the engine of the start did not reproduce their golden scores. */
  readonly refused: ReadonlyMap<string, Error>;
  /** The engine chosen at the start and those below it. */
  readonly ladder: readonly EngineName[];
  private readonly backOff: BackOff;
  private readonly logger: Logger;
  /** By engine: what a set before has measured. */
  private readonly known = new Map<EngineName, ReadonlyMap<string, PoolModelStatus>>();
  /** Lost or replaced, their threads not ended yet. */
  private readonly leaving = new Set<WorkerSet>();
  private readonly listeners: (() => void)[] = [];
  private readonly losses: Record<LossKind, number> = { died: 0, failed: 0, hung: 0 };
  private recoveries = 0;
  private readonly closing = new AbortController();
  /** Engines are started one after another. */
  private starting: Promise<void> = Promise.resolve();
  private returnTimer: NodeJS.Timeout | undefined;
  private standbyTimer: NodeJS.Timeout | undefined;

  private constructor(
    private readonly options: EnginePoolOptions,
    /** Serves, or served last. */
    private latest: WorkerSet,
  ) {
    this.logger = options.logger ?? silentLogger();
    this.backOff = new BackOff(options.backOffMs ?? 30_000, options.backOffMaxMs ?? 600_000);
    this.refused = latest.refused;
    this.ladder = ENGINE_NAMES.slice(ENGINE_NAMES.indexOf(latest.engine));
    this.serve(latest);
  }

  /**
   * Starts the best engine the options allow.
   * @throws SaladError CONFIGURATION_INVALID, ENGINE_UNAVAILABLE, BUNDLE_INVALID
   */
  static async start(options: EnginePoolOptions): Promise<EnginePool> {
    if (options.models.length === 0)
      throw new SaladError('CONFIGURATION_INVALID', 'there is no model to serve');
    const duplicate = options.models.find(({ key }, at) =>
      options.models.slice(0, at).some((m) => m.key === key),
    );
    if (duplicate !== undefined) throw new SaladError('INTERNAL', `model ${duplicate.key} was given twice`);
    const engines = enginesFor(options.engine);
    const set = await startSet(options, { engines, warmUpMs: WARM_UP_MS, requireAll: false });
    return new EnginePool(withoutRefused(options, set), set);
  }

  /** The engine that serves; while there is none, the one that did last. */
  get engine(): EngineName {
    return this.latest.engine;
  }

  get device(): string {
    return this.latest.device;
  }

  get workerCount(): number {
    return this.latest.workerCount;
  }

  /** False from the loss of an engine until another has taken over. */
  get isServing(): boolean {
    return this.serving !== undefined;
  }

  /** Ready to take over at once. */
  get standbyEngine(): EngineName | undefined {
    return this.standby?.engine;
  }

  get failovers(): FailoverCounts {
    return { losses: { ...this.losses }, recoveries: this.recoveries };
  }

  /** Called whenever an engine begins to serve or is lost. */
  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** None while no engine serves. */
  get freeSlots(): number {
    return this.serving?.freeSlots ?? 0;
  }

  get freeUrgentSlots(): number {
    return this.serving?.freeUrgentSlots ?? 0;
  }

  acquire(urgent = false): PoolSlot | undefined {
    return this.serving?.acquire(urgent);
  }

  /** A slot goes back to where it came from: that of a lost engine may be written to late, and is never used again. */
  release(slot: PoolSlot): void {
    slot.owner.release(slot);
  }

  maxBatchSize(model: string): number {
    return this.modelStatus(model)?.maxBatchSize ?? 1;
  }

  modelStatus(model: string): PoolModelStatus | undefined {
    return this.latest.statuses.get(model);
  }

  /**
   * Scores the first `count` tiles of the slot in place.
   * @throws SaladError ENGINE_FAILED; the tiles may be tried again in another slot, then perhaps elsewhere.
   */
  async run(model: string, slot: PoolSlot, count: number, urgent = false): Promise<EngineRun> {
    if (this.closing.signal.aborted) throw new SaladError('ENGINE_FAILED', 'the engine pool is closed');
    const { owner } = slot;
    const computeMs = await owner.run(model, slot, count, urgent);
    const { precision } = owner.statuses.get(model)!;
    return { engine: owner.engine, precision, computeMs };
  }

  /** Whether `run` failed because an engine was lost: it says little about the tiles. */
  isLoss(error: unknown): boolean {
    return error instanceof EngineLoss;
  }

  /** Waits for batches in engines, then ends the threads. */
  async close(): Promise<void> {
    this.closing.abort();
    clearTimeout(this.returnTimer);
    clearTimeout(this.standbyTimer);
    await this.starting;
    await Promise.all([...this.leaving, this.serving, this.standby].map((set) => set?.close()));
  }

  private serve(set: WorkerSet): void {
    set.onLoss = (loss) => this.lose(set, loss);
    this.serving = set;
    this.latest = set;
    this.servingSince = performance.now();
    this.known.set(set.engine, set.statuses);
    this.planReturn();
    this.planStandby();
    this.changed();
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }

  /** The threads end as soon as they have answered what they were asked: never, where they hang. */
  private leave(set: WorkerSet): void {
    this.leaving.add(set);
    set
      .retire()
      .catch((error: unknown) => this.logger.error({ err: error, engine: set.engine }, 'threads did not end'))
      .finally(() => this.leaving.delete(set));
  }

  private lose(set: WorkerSet, error: EngineLoss): void {
    if (set !== this.serving) return;
    const now = performance.now();
    this.serving = undefined;
    clearTimeout(this.returnTimer);
    this.losses[error.loss] += 1;
    const retryMs = this.backOff.failed(set.engine, now, now - this.servingSince);
    this.logger.error({ err: error, engine: set.engine, loss: error.loss, retryMs }, 'an engine was lost');
    this.leave(set);
    const { standby } = this;
    this.standby = undefined;
    if (standby !== undefined) {
      this.serve(standby);
      this.tookOver(set.engine, now);
    } else {
      this.changed();
      this.inTurn(() => this.takeOver(set.engine, now));
    }
  }

  private tookOver(lost: EngineName, lostAt: number): void {
    const switchMs = Math.round(performance.now() - lostAt);
    this.logger.warn({ lost, engine: this.engine, device: this.device, switchMs }, 'an engine took over');
  }

  /** The rungs below, best first; where none of them starts, from the top: a fresh start may be all it needs. */
  private async takeOver(lost: EngineName, lostAt: number): Promise<void> {
    const below = this.ladder.indexOf(lost) + 1;
    const order = [...this.ladder.slice(below), ...this.ladder.slice(0, below)];
    while (this.serving === undefined && !this.closing.signal.aborted) {
      const set = await this.startFirst(order, TAKE_OVER_WARM_UP_MS);
      if (set !== undefined) {
        this.serve(set);
        this.tookOver(lost, lostAt);
        return;
      }
      this.logger.error({ retryMs: this.options.backOffMs }, 'no engine can serve; tiles wait');
      await this.pause(this.options.backOffMs ?? 30_000);
    }
  }

  /** Tries the better engines again once their wait is over, while the present one goes on serving. */
  private planReturn(): void {
    clearTimeout(this.returnTimer);
    const better = this.betterEngines();
    if (better.length === 0 || this.closing.signal.aborted) return;
    const now = performance.now();
    const wait = Math.min(...better.map((engine) => this.backOff.remaining(engine, now)));
    this.returnTimer = setTimeout(() => this.inTurn(() => this.tryReturn()), wait);
    this.returnTimer.unref();
  }

  private async tryReturn(): Promise<void> {
    const before = this.serving;
    if (before === undefined) return;
    const now = performance.now();
    const due = this.betterEngines().filter((engine) => this.backOff.remaining(engine, now) === 0);
    const set = await this.startFirst(due, WARM_UP_MS);
    if (set === undefined) return this.planReturn();
    // It may have been lost in the meantime, and another have taken its place.
    const replaced = this.serving;
    this.serve(set);
    if (replaced !== undefined) this.keep(replaced);
    this.recoveries += 1;
    const recoveryMs = Math.round(performance.now() - now);
    this.logger.info({ engine: set.engine, instead: before.engine, recoveryMs }, 'a better engine is back');
  }

  /** What has proven itself in need is the best to have ready. */
  private keep(set: WorkerSet): void {
    if (this.standby !== undefined) this.leave(this.standby);
    this.standby = undefined;
    if (this.standbyDelayMs > 0) this.standby = set;
    else this.leave(set);
  }

  private get standbyDelayMs(): number {
    return this.options.standbyDelayMs ?? 0;
  }

  private planStandby(): void {
    clearTimeout(this.standbyTimer);
    if (this.standbyDelayMs === 0 || this.closing.signal.aborted) return;
    this.standbyTimer = setTimeout(() => this.inTurn(() => this.prepareStandby()), this.standbyDelayMs);
    this.standbyTimer.unref();
  }

  /** Proving an engine with every model takes seconds; done before it is needed, nobody waits for it. */
  private async prepareStandby(): Promise<void> {
    if (this.standby !== undefined || this.serving === undefined) return;
    const below = this.ladder.slice(this.ladder.indexOf(this.engine) + 1);
    const set = await this.startFirst(below, WARM_UP_MS);
    if (set === undefined) return;
    this.logger.info({ engine: set.engine, device: set.device }, 'an engine stands by');
    if (this.serving !== undefined) this.standby = set;
    else this.serve(set);
  }

  private betterEngines(): readonly EngineName[] {
    return this.ladder.slice(0, this.ladder.indexOf(this.engine));
  }

  /** @returns the first of them that proved itself */
  private async startFirst(engines: readonly EngineName[], warmUpMs: number): Promise<WorkerSet | undefined> {
    for (const engine of engines) {
      if (this.closing.signal.aborted) return undefined;
      try {
        this.refuseSecondOwner(engine);
        const known = this.known.get(engine);
        const start = { engines: [engine], warmUpMs, limitMs: START_LIMIT_MS, requireAll: true };
        return await startSet(this.options, known === undefined ? start : { ...start, known });
      } catch (error) {
        const retryMs = this.backOff.failed(engine, performance.now());
        this.logger.warn({ err: error, engine, retryMs }, 'an engine did not start');
      }
    }
    return undefined;
  }

  /** One thread owns the device; while it hangs, a second one in this process would be undefined behaviour. */
  private refuseSecondOwner(engine: EngineName): void {
    if ([...this.leaving].some((set) => set.engine === engine && set.ownsDevice)) {
      throw new SaladError('ENGINE_UNAVAILABLE', `${engine} still hangs in a thread of this process`);
    }
  }

  private inTurn(work: () => Promise<void>): void {
    this.starting = this.starting
      .then(work)
      .catch((error: unknown) => this.logger.error({ err: error }, 'fail-over went wrong'));
  }

  private async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.closing.signal, ref: false }).catch(() => {});
  }
}

function withoutRefused(options: EnginePoolOptions, { refused }: WorkerSet): EnginePoolOptions {
  return { ...options, models: options.models.filter(({ key }) => !refused.has(key)) };
}

function startSet(
  options: EnginePoolOptions,
  start: Omit<StartOptions, 'preference' | 'onError'>,
): Promise<WorkerSet> {
  const logger = options.logger ?? silentLogger();
  return WorkerSet.start(
    { ...options, watchdogMs: options.watchdogMs ?? 5000 },
    {
      ...start,
      preference: options.engine,
      onError: (error) => logger.error({ err: error }, 'an engine worker failed'),
    },
  );
}
