/**
 * Groups the tiles of all streams into batches and runs them as soon as a slot is free. Streams write and read the
 * slots, and an executor runs them, so that the batcher does not depend on pixels, engines or threads.
 */
import type { EngineRun } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import { AdmissionControl, announcementOf } from './admission-control.js';
import { queuedSinceByTag } from './batch-report.js';
import type { AdmissionLimits, Announcement } from './expected-wait.js';
import {
  BatchPolicy,
  type PolicyLimits,
  type PriorityClass,
  type QueuedTile,
  type StreamHandle,
} from './policy.js';
import { FIRST_TRY, type RetryState, splitForRetry } from './retry.js';
import { ThroughputEstimate } from './throughput-estimate.js';
import type {
  BatchExecutor,
  BatchReport,
  ReleaseReason,
  TileHandler,
  TileStream,
  TileStreamOptions,
} from './types.js';
import { UrgentShare } from './urgent-share.js';

export interface BatcherOptions<Slot> {
  readonly executor: BatchExecutor<Slot>;
  readonly limits: PolicyLimits;
  /** Refuses streams whose tiles would wait longer. @default no limit */
  readonly admission?: AdmissionLimits;
  /** Largest share of the engine time of urgent tiles while others wait, in (0, 1]. @default 1 */
  readonly urgentShare?: number;
  /** Whether peers are served in turn; otherwise all streams are served in turn. @default true */
  readonly peersTakeTurns?: boolean;
  /** Monotonic, in ms. */
  readonly now: () => number;
  /** Called for every scored batch, before its tiles are delivered. */
  readonly onBatch?: (report: BatchReport) => void;
  /**
   * Schedules the dispatch of batches. The default runs it after the pending I/O callbacks, so that the tiles of one
   * network read are in one batch.
   * @default setImmediate
   */
  readonly soon?: (task: () => void) => void;
}

interface Member<Slot> {
  readonly handler: TileHandler<Slot>;
  readonly announcement: Announcement;
  readonly tag: object | undefined;
  closed: boolean;
}

type Tile<Slot> = QueuedTile<Member<Slot>>;

/** A batch to be run. */
interface Dispatch<Slot> extends RetryState {
  readonly model: string;
  readonly tiles: readonly Tile<Slot>[];
  readonly releaseReason: ReleaseReason;
  readonly isStat: boolean;
  /** Runs before the batches that wait in a worker. */
  readonly urgent: boolean;
}

export class Batcher<Slot> {
  private readonly policy: BatchPolicy<Member<Slot>>;
  private readonly executor: BatchExecutor<Slot>;
  private readonly soon: (task: () => void) => void;
  private scheduled = false;
  private readonly throughput = new ThroughputEstimate();
  private readonly admission: AdmissionControl;
  private readonly retries: Dispatch<Slot>[] = [];
  private readonly urgentShare: UrgentShare;
  private inFlight = 0;
  /** Batches in flight of other classes than 'stat'. */
  private othersInFlight = 0;
  private isAloneInFlight = false;

  constructor(private readonly options: BatcherOptions<Slot>) {
    this.policy = new BatchPolicy(options.limits);
    this.executor = options.executor;
    this.urgentShare = new UrgentShare(options.urgentShare ?? 1);
    this.admission = new AdmissionControl({
      limits: options.admission,
      queued: this.policy.queuedByClass,
      throughput: this.throughput,
      urgentShare: this.urgentShare.share,
      now: options.now,
    });
    this.soon = options.soon ?? setImmediate;
    this.executor.onChange(() => this.schedule());
  }

  get now(): () => number {
    return this.options.now;
  }

  get queuedTiles(): number {
    return this.policy.queuedTiles;
  }

  /** Expected wait of a new tile of this class and peer, in ms; 0 while the throughput is unknown. */
  expectedQueueMs(priority: PriorityClass, peer?: string): number {
    return this.admission.expectedQueueMs(priority, this.turnOf(peer));
  }

  /**
   * Checks the expected wait before anything is allocated.
   * @param capacity number of tiles of the stream
   * @throws SaladError OVERLOADED
   */
  refuseWhenSlow(priority: PriorityClass, capacity: number, peer?: string): void {
    this.admission.refuseWhenSlow(priority, capacity, this.turnOf(peer));
  }

  /** Opens a stream. @throws SaladError OVERLOADED if the queue has no room for its capacity, or the wait is too long */
  open(options: TileStreamOptions<Slot>): TileStream {
    const { priority, capacity, handler, tag } = options;
    const peer = this.turnOf(options.peer);
    this.admission.refuseWhenSlow(priority, capacity, peer);
    const announcement = announcementOf(priority, capacity, peer);
    const member: Member<Slot> = { handler, announcement, tag, closed: false };
    const stream: StreamHandle<Member<Slot>> = this.policy.open({ ...options, peer, payload: member });
    this.admission.announce(announcement);
    return {
      enqueue: (tiles) => {
        this.admission.arrived(announcement, tiles.length);
        this.policy.enqueue(stream, tiles, this.options.now());
        if (tiles.length > 0) this.schedule();
      },
      close: () => {
        this.leave(member);
        this.policy.close(stream);
        if (this.policy.queuedTiles === 0) this.throughput.idle();
      },
    };
  }

  /** Key of the peers that share a turn. */
  private turnOf(peer = ''): string {
    return this.options.peersTakeTurns === false ? '' : peer;
  }

  private leave(member: Member<Slot>): void {
    member.closed = true;
    this.admission.withdraw(member.announcement);
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.soon(() => {
      this.scheduled = false;
      this.dispatch();
    });
  }

  /** Starts batches while there are slots and tiles. Retries run first, except before urgent tiles. */
  private dispatch(): void {
    while (!this.isAloneInFlight) {
      const { freeSlots, freeUrgentSlots } = this.executor;
      const urgentOnly = freeSlots === 0;
      const othersFirst = this.urgentShare.isUsedUp && this.othersWait;
      if (urgentOnly && (othersFirst || freeUrgentSlots === 0 || this.policy.queuedUrgentTiles === 0)) return;
      const [retry] = this.retries;
      if (retry?.isAlone && this.inFlight > 0) return;
      const isRetry = retry !== undefined && !urgentOnly;
      const batch = isRetry ? retry : this.nextBatch(urgentOnly, othersFirst);
      if (batch === undefined) return;
      const slot = this.executor.acquire(batch.urgent);
      if (slot === undefined)
        throw new SaladError('INTERNAL', 'the executor reported a free slot and has none');
      if (isRetry) this.retries.shift();
      this.isAloneInFlight = batch.isAlone;
      void this.runBatch(batch, slot);
    }
  }

  /** Whether tiles that are not urgent are queued here or in a worker. */
  private get othersWait(): boolean {
    return this.othersInFlight > 0 || this.policy.queuedTiles > this.policy.queuedUrgentTiles;
  }

  private nextBatch(urgentOnly: boolean, othersFirst: boolean): Dispatch<Slot> | undefined {
    const { batch, expired } = this.policy.next(
      this.options.now(),
      (model, priority) => this.batchLimit(model, priority),
      urgentOnly ? 'stat' : 'background',
      othersFirst,
    );
    for (const member of expired) {
      this.leave(member);
      member.handler.expire();
    }
    if (batch === undefined) return undefined;
    const isFull = batch.tiles.length >= this.executor.maxBatchSize(batch.model);
    const { model, tiles, priority } = batch;
    // A batch beyond the share of urgent tiles does not run before the batches that wait in a worker.
    const isStat = priority === 'stat';
    const urgent = isStat && !othersFirst;
    return {
      model,
      tiles,
      releaseReason: isFull ? 'full' : 'slot',
      isStat,
      urgent,
      ...FIRST_TRY,
    };
  }

  /**
   * Spreads the queued tiles over the free slots before batches grow, so that a single acquisition uses all cores.
   * Urgent tiles have additional slots.
   */
  private batchLimit(model: string, priority: PriorityClass): number {
    const { freeSlots, freeUrgentSlots } = this.executor;
    const share =
      priority === 'stat'
        ? this.policy.queuedUrgentTiles / (freeSlots + freeUrgentSlots)
        : this.policy.queuedTilesOf(model) / freeSlots;
    return Math.max(1, Math.min(Math.ceil(share), this.executor.maxBatchSize(model)));
  }

  /** Runs a batch and handles its failure. Never rejects. */
  private async runBatch(batch: Dispatch<Slot>, slot: Slot): Promise<void> {
    this.inFlight += 1;
    if (!batch.isStat) this.othersInFlight += 1;
    let settled = 0;
    try {
      const error = await this.attempt(batch, slot);
      if (error === undefined) settled = batch.tiles.length;
      else settled = this.retryOrFail(batch, error);
    } finally {
      this.inFlight -= 1;
      if (!batch.isStat) this.othersInFlight -= 1;
      if (batch.isAlone) this.isAloneInFlight = false;
      this.executor.release(slot);
      this.throughput.finished(settled, this.options.now());
      this.dispatch();
      if (this.policy.queuedTiles === 0) this.throughput.idle();
    }
  }

  /** Runs a batch and delivers its tiles, each at most once. @returns the error if the engine failed */
  private async attempt(batch: Dispatch<Slot>, slot: Slot): Promise<SaladError | undefined> {
    const { model, tiles, urgent } = batch;
    const dispatchedAt = this.options.now();
    let run: EngineRun;
    try {
      tiles.forEach(({ payload, tile }, index) => {
        payload.handler.fill(tile, slot, index);
      });
      run = await this.executor.run(model, slot, tiles.length, urgent);
    } catch (error) {
      return SaladError.from(error);
    }
    this.urgentShare.count(batch.isStat, run.computeMs, this.othersWait);
    const report: BatchReport = {
      ...run,
      model,
      tiles: tiles.length,
      maxTiles: this.executor.maxBatchSize(model),
      releaseReason: batch.releaseReason,
      dispatchedAt,
      finishedAt: this.options.now(),
      queuedSinceByTag: queuedSinceByTag(tiles),
    };
    this.options.onBatch?.(report);
    tiles.forEach(({ payload, tile, readyAt }, index) => {
      if (!payload.closed) payload.handler.deliver(tile, slot, index, report, dispatchedAt - readyAt);
    });
    return undefined;
  }

  /** @returns the number of tiles that will not be scored again: those that failed, or whose streams are closed */
  private retryOrFail(batch: Dispatch<Slot>, error: SaladError): number {
    const { tiles } = batch;
    const open = tiles.filter(({ payload }) => !payload.closed);
    const [first] = open;
    if (first === undefined) return tiles.length;
    const retry = splitForRetry(open, batch, this.executor.isLoss(error));
    if (retry === undefined) {
      first.payload.handler.fail(first.tile, error);
      return tiles.length;
    }
    const { parts, ...state } = retry;
    for (const part of parts) this.retries.push({ ...batch, ...state, tiles: part, releaseReason: 'retry' });
    return tiles.length - open.length;
  }
}
