/**
 * Groups tiles of all streams into batches and runs them: a batch leaves the moment a slot is free. It knows
 * nothing of pixels, engines or threads: streams fill and read slots, an executor runs them.
 */
import type { EngineRun } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import {
  type AdmissionLimits,
  Announced,
  type Announcement,
  longestWaitMs,
  tilesAhead,
} from './admission.js';
import {
  BatchPolicy,
  type PolicyLimits,
  PRIORITY_CLASSES,
  type PriorityClass,
  type QueuedTile,
  type StreamHandle,
} from './policy.js';
import { StatShare } from './stat-share.js';
import { Pace } from './throughput-estimate.js';
import type {
  BatchExecutor,
  BatchReport,
  Release,
  TileHandler,
  TileStream,
  TileStreamOptions,
} from './types.js';

export interface BatcherOptions<Slot> {
  readonly executor: BatchExecutor<Slot>;
  readonly limits: PolicyLimits;
  /** A stream whose tiles would wait longer for their turn is refused. @default no limit */
  readonly admission?: AdmissionLimits;
  /** Of engine time that urgent tiles get at most while others wait, in (0, 1]. @default 1 */
  readonly statShare?: number;
  /** Else the streams of all peers do. @default true */
  readonly peersTakeTurns?: boolean;
  /** Monotonic, in ms. */
  readonly now: () => number;
  /** Told of every batch that was scored, before its tiles are delivered. */
  readonly onBatch?: (report: BatchReport) => void;
  /**
   * Runs a dispatch round soon. The default waits for the event loop to hand over what has already arrived, no
   * longer, so that tiles of one network read ride together.
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

/** Tiles on their way to an engine. */
interface Dispatch<Slot> {
  readonly model: string;
  readonly tiles: readonly Tile<Slot>[];
  readonly release: Release;
  readonly isStat: boolean;
  /** It passes what waits in a worker. */
  readonly urgent: boolean;
  /** One tile that failed without companions: it runs with nothing else in flight. */
  readonly isAlone: boolean;
  /** Engines lost while it ran with nothing else in flight. */
  readonly lossesAlone: number;
}

/**
 * An engine that is lost says little about the tiles in it, but some tile may be what breaks engines: one is given up
 * once so many were lost with nothing else in flight.
 */
const LOSSES_ALONE_MAX = 3;

/** How long tiles announced count as on their way: a fast client on a busy machine has sent a whole image by then. */
const ANNOUNCED_FOR_MS = 250;

export class Batcher<Slot> {
  private readonly policy: BatchPolicy<Member<Slot>>;
  private readonly executor: BatchExecutor<Slot>;
  private readonly soon: (task: () => void) => void;
  private scheduled = false;
  private readonly pace = new Pace();
  private readonly announced = new Announced(PRIORITY_CLASSES.length, ANNOUNCED_FOR_MS);
  private readonly retries: Dispatch<Slot>[] = [];
  private readonly statShare: StatShare;
  private inFlight = 0;
  /** Of those, batches of other classes than 'stat'. */
  private othersInFlight = 0;
  private aloneRuns = false;

  constructor(private readonly options: BatcherOptions<Slot>) {
    this.policy = new BatchPolicy(options.limits);
    this.executor = options.executor;
    this.statShare = new StatShare(options.statShare ?? 1);
    this.soon = options.soon ?? setImmediate;
    this.executor.onChange(() => this.schedule());
  }

  get now(): () => number {
    return this.options.now;
  }

  get queuedTiles(): number {
    return this.policy.queuedTiles;
  }

  /** How long a new tile of this class and peer would wait for the tiles before it, in ms; 0 while nothing is known. */
  expectedQueueMs(priority: PriorityClass, peer = ''): number {
    this.announced.forget(this.options.now());
    const ahead = {
      queued: this.policy.queuedByClass,
      announced: this.announced.tiles,
      statShare: this.statShare.share,
    };
    const rank = PRIORITY_CLASSES.indexOf(priority);
    return tilesAhead(ahead, rank, this.turnOf(peer)) * this.pace.msPerTile;
  }

  /**
   * For the first look, before anything is allocated.
   * @param capacity tiles of the stream that asks
   * @throws SaladError OVERLOADED
   */
  refuseWhenSlow(priority: PriorityClass, capacity: number, peer = ''): void {
    const { admission } = this.options;
    if (admission === undefined) return;
    const expectedMs = this.expectedQueueMs(priority, peer);
    if (expectedMs > longestWaitMs(admission, capacity * this.pace.msPerTile)) {
      throw new SaladError('OVERLOADED', `tiles would wait ${Math.round(expectedMs)} ms for an engine`);
    }
  }

  /** @throws SaladError OVERLOADED where the queue has no room for the stream's capacity, or is too slow. */
  open(options: TileStreamOptions<Slot>): TileStream {
    const { priority, capacity, handler, tag } = options;
    const peer = this.turnOf(options.peer);
    this.refuseWhenSlow(priority, capacity, peer);
    const announcement: Announcement = { peer, rank: PRIORITY_CLASSES.indexOf(priority), left: capacity };
    const member: Member<Slot> = { handler, announcement, tag, closed: false };
    const stream: StreamHandle<Member<Slot>> = this.policy.open({ ...options, peer, payload: member });
    this.announced.add(announcement, this.options.now());
    return {
      enqueue: (tiles) => {
        this.announced.arrived(announcement, tiles.length);
        this.policy.enqueue(stream, tiles, this.options.now());
        if (tiles.length > 0) this.schedule();
      },
      close: () => {
        this.leave(member);
        this.policy.close(stream);
        if (this.policy.queuedTiles === 0) this.pace.idle();
      },
    };
  }

  /** With whom a peer's streams share a turn. */
  private turnOf(peer = ''): string {
    return this.options.peersTakeTurns === false ? '' : peer;
  }

  private leave(member: Member<Slot>): void {
    member.closed = true;
    this.announced.withdraw(member.announcement);
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.soon(() => {
      this.scheduled = false;
      this.dispatch();
    });
  }

  /** Starts batches while there are both slots and tiles; what failed goes first, but for urgent tiles. */
  private dispatch(): void {
    while (!this.aloneRuns) {
      const { freeSlots, freeUrgentSlots } = this.executor;
      const urgentOnly = freeSlots === 0;
      const othersFirst = this.statShare.isUsedUp && this.othersWait;
      if (urgentOnly && (othersFirst || freeUrgentSlots === 0 || this.policy.queuedUrgentTiles === 0)) return;
      const [retry] = this.retries;
      if (retry?.isAlone && this.inFlight > 0) return;
      const isRetry = retry !== undefined && !urgentOnly;
      const batch = isRetry ? retry : this.nextBatch(urgentOnly, othersFirst);
      if (batch === undefined) return;
      const slot = this.executor.acquire(batch.urgent);
      if (slot === undefined)
        throw new SaladError('INTERNAL', 'the executor promised a slot it does not have');
      if (isRetry) this.retries.shift();
      this.aloneRuns = batch.isAlone;
      void this.runBatch(batch, slot);
    }
  }

  /** Tiles that are not urgent are queued here, or in a worker. */
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
    // Beyond its share a batch passes nothing that waits in a worker.
    const isStat = priority === 'stat';
    const urgent = isStat && !othersFirst;
    return {
      model,
      tiles,
      release: isFull ? 'full' : 'slot',
      isStat,
      urgent,
      isAlone: false,
      lossesAlone: 0,
    };
  }

  /**
   * Waiting tiles are spread over the free slots before batches grow: a lone acquisition uses every core. Urgent ones
   * have more slots.
   */
  private batchLimit(model: string, priority: PriorityClass): number {
    const { freeSlots, freeUrgentSlots } = this.executor;
    const share =
      priority === 'stat'
        ? this.policy.queuedUrgentTiles / (freeSlots + freeUrgentSlots)
        : this.policy.queuedTilesOf(model) / freeSlots;
    return Math.max(1, Math.min(Math.ceil(share), this.executor.maxBatchSize(model)));
  }

  /** Never rejects. */
  private async runBatch(batch: Dispatch<Slot>, slot: Slot): Promise<void> {
    this.inFlight += 1;
    if (!batch.isStat) this.othersInFlight += 1;
    let settled = 0;
    try {
      const error = await this.attempt(batch, slot);
      if (error === undefined) settled = batch.tiles.length;
      else settled = this.failed(batch, error);
    } finally {
      this.inFlight -= 1;
      if (!batch.isStat) this.othersInFlight -= 1;
      if (batch.isAlone) this.aloneRuns = false;
      this.executor.release(slot);
      this.pace.finished(settled, this.options.now());
      this.dispatch();
      if (this.policy.queuedTiles === 0) this.pace.idle();
    }
  }

  /** @returns why the engine failed; a tile is delivered at most once either way. */
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
    this.statShare.ran(batch.isStat, run.computeMs, this.othersWait);
    const report = this.report(batch, run, dispatchedAt);
    this.options.onBatch?.(report);
    tiles.forEach(({ payload, tile, readyAt }, index) => {
      if (!payload.closed) payload.handler.deliver(tile, slot, index, report, dispatchedAt - readyAt);
    });
    return undefined;
  }

  private report(
    { model, tiles, release }: Dispatch<Slot>,
    run: EngineRun,
    dispatchedAt: number,
  ): BatchReport {
    const queuedSinceByTag = new Map<object, number>();
    for (const { payload, readyAt } of tiles) {
      // A stream's tiles are in the order in which they became ready.
      const { tag } = payload;
      if (tag !== undefined && !queuedSinceByTag.has(tag)) queuedSinceByTag.set(tag, readyAt);
    }
    const maxTiles = this.executor.maxBatchSize(model);
    const finishedAt = this.options.now();
    return {
      ...run,
      model,
      tiles: tiles.length,
      maxTiles,
      release,
      dispatchedAt,
      finishedAt,
      queuedSinceByTag,
    };
  }

  /**
   * Tries the tiles again in halves, so that one bad tile cannot take its companions with it.
   * @returns how many tiles are settled: failed, or of streams that are closed
   */
  private failed(batch: Dispatch<Slot>, error: SaladError): number {
    const { model, tiles, isStat, urgent, isAlone, lossesAlone } = batch;
    const open = tiles.filter(({ payload }) => !payload.closed);
    const [first] = open;
    if (first === undefined) return tiles.length;
    const losses = isAlone && this.executor.isLoss(error) ? lossesAlone + 1 : lossesAlone;
    const mayTryAgain = !isAlone || (losses > lossesAlone && losses < LOSSES_ALONE_MAX);
    if (!mayTryAgain) {
      first.payload.handler.fail(first.tile, error);
      return tiles.length;
    }
    const half = Math.ceil(open.length / 2);
    for (const part of [open.slice(0, half), open.slice(half)]) {
      if (part.length === 0) continue;
      this.retries.push({
        model,
        tiles: part,
        release: 'retry',
        isStat,
        urgent,
        isAlone: open.length === 1,
        lossesAlone: losses,
      });
    }
    return tiles.length - open.length;
  }
}
