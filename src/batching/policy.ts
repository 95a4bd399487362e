/**
 * Selects the tiles of the next batch. It stores indices of tiles without pixels, reads no clock and has no side effects;
 * callers pass the time.
 */
import { SaladError } from '../errors/index.js';
import type { TileIndex } from '../geometry/tile-index.js';
import { Lane, type LaneStream, ROUND_ROBIN_EVERY } from './lane.js';
import { TileCounts } from './tile-counts.js';

export const PRIORITY_CLASSES = ['stat', 'routine', 'background'] as const;
/** A class is served only if no tiles of the classes before it wait, or if 'stat' has used up its share. */
export type PriorityClass = (typeof PRIORITY_CLASSES)[number];

export interface PolicyLimits {
  /** Largest sum of the capacities of all open streams. */
  readonly maxQueuedTiles: number;
  /** Streams with deadlines nearer than this are served before the streams that take turns. */
  readonly urgencyHorizonMs: number;
}

export interface StreamOptions<P> {
  /** All tiles of a batch belong to one model. */
  readonly model: string;
  readonly priority: PriorityClass;
  /** Absolute, in ms of the clock of `next`; Infinity without a deadline. */
  readonly deadline: number;
  /** Largest number of tiles that this stream has queued at a time. */
  readonly capacity: number;
  /** Peer that the stream belongs to; peers are served in turn. @default one peer for all streams */
  readonly peer?: string;
  readonly payload: P;
}

export interface QueuedTile<P> {
  readonly payload: P;
  readonly tile: TileIndex;
  readonly readyAt: number;
}

export interface Batch<P> {
  readonly model: string;
  readonly priority: PriorityClass;
  readonly tiles: readonly QueuedTile<P>[];
}

export interface Selection<P> {
  readonly batch: Batch<P> | undefined;
  /** Streams whose deadline has passed. Their tiles were dropped, and they are closed. */
  readonly expired: readonly P[];
}

class PolicyStream<P> implements LaneStream {
  /** First in, first out: tiles from `head` on are queued. */
  private tiles: TileIndex[] = [];
  private readyAt: number[] = [];
  private head = 0;
  isOpen = true;

  constructor(
    readonly lane: Lane<PolicyStream<P>>,
    readonly priority: PriorityClass,
    readonly model: ModelQueue<P>,
    readonly deadline: number,
    readonly capacity: number,
    readonly peer: string,
    readonly payload: P,
  ) {}

  get queued(): number {
    return this.tiles.length - this.head;
  }

  append(tile: TileIndex, now: number): void {
    this.tiles.push(tile);
    this.readyAt.push(now);
  }

  shift(): QueuedTile<P> {
    const tile = this.tiles[this.head]!;
    const readyAt = this.readyAt[this.head]!;
    this.head += 1;
    if (this.head === this.tiles.length) this.clear();
    return { payload: this.payload, tile, readyAt };
  }

  clear(): void {
    this.tiles = [];
    this.readyAt = [];
    this.head = 0;
  }
}

class ModelQueue<P> {
  readonly lanes: readonly Lane<PolicyStream<P>>[];
  openStreams = 0;
  queued = 0;

  constructor(
    readonly name: string,
    urgencyHorizonMs: number,
  ) {
    this.lanes = PRIORITY_CLASSES.map(() => new Lane(urgencyHorizonMs));
  }
}

interface ChosenLane<P> {
  readonly model: ModelQueue<P>;
  readonly lane: Lane<PolicyStream<P>>;
  readonly priority: PriorityClass;
}

/** A handle without public fields. */
export type StreamHandle<P> = PolicyStream<P>;

export class BatchPolicy<P> {
  /** In the order of service: the first was served longest ago. */
  private readonly models = new Map<string, ModelQueue<P>>();
  private reserved = 0;
  private queued = 0;
  /** Number of queued tiles by the rank of their class. */
  readonly queuedByClass = new TileCounts(PRIORITY_CLASSES.length);
  private selections = 0;

  constructor(private readonly limits: PolicyLimits) {}

  /** Number of queued tiles. */
  get queuedTiles(): number {
    return this.queued;
  }

  /** Sum of the capacities of open streams; at most `maxQueuedTiles`. */
  get reservedTiles(): number {
    return this.reserved;
  }

  /** Number of queued tiles of class 'stat'. */
  get queuedUrgentTiles(): number {
    return this.queuedByClass.total(0);
  }

  queuedTilesOf(model: string): number {
    return this.models.get(model)?.queued ?? 0;
  }

  /**
   * Opens a stream and reserves its capacity, so that its tiles are never refused later.
   * @throws SaladError OVERLOADED
   */
  open(options: StreamOptions<P>): StreamHandle<P> {
    if (this.reserved + options.capacity > this.limits.maxQueuedTiles) {
      throw new SaladError(
        'OVERLOADED',
        `the tile queue is full (${this.limits.maxQueuedTiles} tiles); try again later`,
      );
    }
    let model = this.models.get(options.model);
    if (model === undefined) {
      model = new ModelQueue(options.model, this.limits.urgencyHorizonMs);
      this.models.set(options.model, model);
    }
    this.reserved += options.capacity;
    model.openStreams += 1;
    const lane = model.lanes[PRIORITY_CLASSES.indexOf(options.priority)]!;
    return new PolicyStream(
      lane,
      options.priority,
      model,
      options.deadline,
      options.capacity,
      options.peer ?? '',
      options.payload,
    );
  }

  /** Queues tiles. Tiles of a closed stream are ignored, because its client is gone. */
  enqueue(stream: StreamHandle<P>, tiles: readonly TileIndex[], now: number): void {
    if (!stream.isOpen || tiles.length === 0) return;
    if (stream.queued + tiles.length > stream.capacity) {
      throw new SaladError('INTERNAL', `stream queued more than its ${stream.capacity} tiles`);
    }
    const wasEmpty = stream.queued === 0;
    for (const tile of tiles) stream.append(tile, now);
    this.count(stream, tiles.length);
    if (wasEmpty) stream.lane.add(stream);
  }

  /** Drops the queued tiles and releases the capacity. Idempotent. @returns the number of dropped tiles */
  close(stream: StreamHandle<P>): number {
    if (!stream.isOpen) return 0;
    stream.isOpen = false;
    this.reserved -= stream.capacity;
    const dropped = stream.queued;
    if (dropped > 0) {
      stream.lane.remove(stream);
      this.count(stream, -dropped);
      stream.clear();
    }
    stream.model.openStreams -= 1;
    if (stream.model.openStreams === 0) this.models.delete(stream.model.name);
    return dropped;
  }

  /**
   * Selects the next batch. Its tiles have one model and one class, so that a STAT tile never waits for ROUTINE tiles in
   * its batch.
   * @param limitFor returns the largest number of tiles of a batch of this model and class, at least 1; called once
   * @param last least urgent class to be served
   * @param othersFirst whether urgent tiles are served only if no other tiles wait
   */
  next(
    now: number,
    limitFor: (model: string, priority: PriorityClass) => number,
    last: PriorityClass = 'background',
    othersFirst = false,
  ): Selection<P> {
    const expired = this.dropExpired(now);
    const ranks = PRIORITY_CLASSES.map((_, index) => index).slice(0, PRIORITY_CLASSES.indexOf(last) + 1);
    const chosen = this.chooseLane(now, othersFirst ? [...ranks.slice(1), 0] : ranks);
    if (chosen === undefined) return { batch: undefined, expired };
    const { model, lane, priority } = chosen;
    const limit = limitFor(model.name, priority);
    const tiles: QueuedTile<P>[] = [];
    while (tiles.length < limit) {
      const stream = lane.pick(now);
      if (stream === undefined) break;
      tiles.push(stream.shift());
      this.count(stream, -1);
      if (stream.queued === 0) lane.remove(stream);
    }
    this.models.delete(model.name);
    this.models.set(model.name, model);
    return { batch: { model: model.name, priority, tiles }, expired };
  }

  private dropExpired(now: number): P[] {
    const payloads: P[] = [];
    for (const model of [...this.models.values()]) {
      for (const lane of model.lanes) {
        for (let stream = lane.expired(now); stream !== undefined; stream = lane.expired(now)) {
          this.close(stream);
          payloads.push(stream.payload);
        }
      }
    }
    return payloads;
  }

  /** Selects by class in the order of `ranks`, then models with near deadlines, then the model served longest ago. */
  private chooseLane(now: number, ranks: readonly number[]): ChosenLane<P> | undefined {
    this.selections += 1;
    const ignoresDeadlines = this.selections % ROUND_ROBIN_EVERY === 0;
    for (const index of ranks) {
      let chosen: ChosenLane<P> | undefined;
      let chosenDeadline = ignoresDeadlines ? Number.NEGATIVE_INFINITY : now + this.limits.urgencyHorizonMs;
      for (const model of this.models.values()) {
        const lane = model.lanes[index]!;
        if (lane.isEmpty) continue;
        if (chosen === undefined || lane.earliestDeadline < chosenDeadline) {
          chosen = { model, lane, priority: PRIORITY_CLASSES[index]! };
          chosenDeadline = Math.min(chosenDeadline, lane.earliestDeadline);
        }
      }
      if (chosen !== undefined) return chosen;
    }
    return undefined;
  }

  private count(stream: StreamHandle<P>, change: number): void {
    this.queued += change;
    this.queuedByClass.add(PRIORITY_CLASSES.indexOf(stream.priority), stream.peer, change);
    stream.model.queued += change;
  }
}
