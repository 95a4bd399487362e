import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Batcher } from '../../../src/batching/batcher.js';
import type { PriorityClass } from '../../../src/batching/policy.js';
import type { BatchExecutor, BatchReport } from '../../../src/batching/types.js';
import { SaladError } from '../../../src/errors/index.js';
import { firstTiles, tileList } from '../../support/engines/tiles.js';

interface Slot {
  readonly tiles: string[];
  readonly isUrgent: boolean;
}

const LOST = 'the engine is lost';

/** An executor whose batches finish when the test finishes them, and fail where the test says so. */
class StubExecutor implements BatchExecutor<Slot> {
  readonly ran: string[][] = [];
  readonly urgent: boolean[] = [];
  failing: (tiles: readonly string[]) => boolean = () => false;
  /** Engines that these tiles take with them. */
  losing: (tiles: readonly string[]) => boolean = () => false;
  computeMs = 1;
  private readonly free: Slot[];
  private readonly freeForUrgent: Slot[];
  private waiting: (() => void)[] = [];
  private changed: () => void = () => {};

  constructor(
    private readonly slots: number,
    private readonly limit = 4,
    urgentSlots = 0,
  ) {
    const slotsFor = (length: number, isUrgent: boolean) =>
      Array.from({ length }, () => ({ tiles: [], isUrgent }));
    this.free = slotsFor(slots, false);
    this.freeForUrgent = slotsFor(urgentSlots, true);
  }

  get freeSlots() {
    return this.free.length;
  }
  get freeUrgentSlots() {
    return this.freeForUrgent.length;
  }
  get inFlight() {
    return this.slots - this.free.length;
  }
  acquire(urgent: boolean) {
    return this.free.pop() ?? (urgent ? this.freeForUrgent.pop() : undefined);
  }
  release(slot: Slot) {
    (slot.isUrgent ? this.freeForUrgent : this.free).push(slot);
  }
  onChange(listener: () => void) {
    this.changed = listener;
  }
  /** The engine is gone, and its slots with it, until `comeBack`. */
  leave() {
    return this.free.splice(0);
  }
  comeBack(slots: readonly Slot[]) {
    this.free.push(...slots);
    this.changed();
  }
  maxBatchSize() {
    return this.limit;
  }
  isLoss({ message }: SaladError) {
    return message === LOST;
  }
  async run(_model: string, slot: Slot, count: number, urgent: boolean) {
    const tiles = slot.tiles.slice(0, count);
    this.ran.push(tiles);
    this.urgent.push(urgent);
    await new Promise<void>((resolve) => this.waiting.push(resolve));
    if (this.failing(tiles)) throw new SaladError('ENGINE_FAILED', `cannot score ${tiles.join()}`);
    if (this.losing(tiles)) throw new SaladError('ENGINE_FAILED', LOST);
    return { engine: 'onnx', precision: 'float32', computeMs: this.computeMs } as const;
  }
  /** Finishes the oldest batch in flight. */
  async finishOne() {
    this.waiting.shift()?.();
    await new Promise((turn) => setImmediate(turn));
  }
  /** Finishes the batches in flight, those they lead to, and so on. */
  async finishAll() {
    while (this.waiting.length > 0) {
      for (const resolve of this.waiting.splice(0)) resolve();
      await new Promise((turn) => setImmediate(turn));
    }
  }
}

function setUp(
  slots: number,
  limit = 4,
  maxQueuedTiles = 1000,
  maxQueueMs = Number.POSITIVE_INFINITY,
  urgentSlots = 0,
  urgentShare = 1,
) {
  const executor = new StubExecutor(slots, limit, urgentSlots);
  let time = 0;
  let pending: (() => void)[] = [];
  const reports: BatchReport[] = [];
  const batcher = new Batcher<Slot>({
    executor,
    limits: { maxQueuedTiles, urgencyHorizonMs: 100 },
    admission: { maxQueueMs, maxQueueRatio: 0, overloadQueueRatio: 0 },
    urgentShare,
    now: () => time,
    onBatch: (report) => reports.push(report),
    soon: (task) => pending.push(task),
  });
  const turn = () => {
    const tasks = pending;
    pending = [];
    for (const task of tasks) task();
  };
  const open = (name: string, deadline = Number.POSITIVE_INFINITY, priority: PriorityClass = 'routine') => {
    const log = {
      delivered: [] as number[],
      failed: [] as number[],
      timings: [] as { readonly batch: BatchReport; readonly queueMs: number }[],
      expired: 0,
    };
    const stream = batcher.open({
      model: 'm',
      priority,
      deadline,
      capacity: 100,
      tag: log,
      handler: {
        fill: (tile, slot, index) => {
          slot.tiles[index] = `${name}${tile}`;
        },
        deliver: (tile, slot, index, batch, queueMs) => {
          assert.equal(slot.tiles[index], `${name}${tile}`);
          log.delivered.push(tile);
          log.timings.push({ batch, queueMs });
        },
        fail: (tile) => log.failed.push(tile),
        expire: () => {
          log.expired += 1;
        },
      },
    });
    return { stream, log };
  };
  return { executor, batcher, reports, open, turn, advance: (ms: number) => (time += ms) };
}

const range = (length: number) => Array.from({ length }, (_, at) => at);

describe('Batcher', () => {
  it('refuses a stream whose tiles would wait too long, but an urgent one only behind urgent ones', async () => {
    const { executor, batcher, open, turn, advance } = setUp(1, 4, 1000, 50);
    const a = open('a');
    a.stream.enqueue(firstTiles(40));
    turn();
    // The throughput is unknown yet.
    open('b').stream.close();
    for (let batch = 0; batch < 3; batch++) {
      advance(20);
      await executor.finishOne();
    }
    // 24 tiles wait, 5 ms each, and 60 more are announced.
    assert.equal(batcher.expectedQueueMs('routine'), (24 + 60) * 5);
    advance(250);
    assert.equal(batcher.expectedQueueMs('routine'), 24 * 5);
    assert.equal(batcher.expectedQueueMs('stat'), 0);
    assert.throws(() => open('c'), { reason: 'OVERLOADED' });
    open('d', Number.POSITIVE_INFINITY, 'stat').stream.close();
    a.stream.close();
    open('e').stream.close();
    await executor.finishAll();
  });

  it('keeps a share of the engines for the others while urgent tiles never end', async () => {
    const { executor, open, turn } = setUp(1, 4, 10_000, Number.POSITIVE_INFINITY, 1, 0.75);
    executor.computeMs = 100;
    const urgent = open('s', Number.POSITIVE_INFINITY, 'stat');
    const others = open('r');
    others.stream.enqueue(firstTiles(100));
    for (let round = 0; executor.ran.length < 60; round++) {
      urgent.stream.enqueue(tileList(round));
      turn();
      if (round % 3 === 2) await executor.finishOne();
    }
    const isUrgent = executor.ran.map(([first]) => first?.startsWith('s'));
    // 250 ms beyond the share of 75 % are 1000 ms of urgent batches in a row.
    assert.ok(isUrgent.slice(0, 10).filter(Boolean).length >= 9, isUrgent.join());
    const rest = isUrgent.slice(20);
    const share = rest.filter((each) => !each).length / rest.length;
    assert.ok(share >= 0.2 && share <= 0.35, `${share} of the batches are the others'`);
    // Beyond the share no urgent batch runs before the batches that wait in a worker.
    const passing = executor.ran.filter((_, index) => index >= 20 && executor.urgent[index]);
    assert.ok(passing.length < rest.length, `${passing.length} of ${rest.length} passed`);
  });

  it('runs only urgent tiles where no others wait', async () => {
    const { executor, open, turn } = setUp(1, 1, 10_000, Number.POSITIVE_INFINITY, 1, 0.5);
    executor.computeMs = 1000;
    open('s', Number.POSITIVE_INFINITY, 'stat').stream.enqueue(firstTiles(50));
    turn();
    for (let batch = 0; batch < 20; batch++) await executor.finishOne();
    const routine = open('r');
    routine.stream.enqueue(tileList(0));
    turn();
    await executor.finishAll();
    const at = executor.ran.findIndex(([first]) => first === 'r0');
    assert.ok(executor.ran.length - at > 1, 'the routine tile came last, though its class has a share');
    assert.ok(executor.urgent.slice(0, 20).every(Boolean));
  });

  it('puts tiles that arrive in one turn together and spreads them over the free slots', async () => {
    const { executor, open, turn } = setUp(2);
    const [a, b] = [open('a'), open('b')];
    a.stream.enqueue(tileList(0, 1));
    b.stream.enqueue(tileList(0, 1));
    turn();
    assert.deepEqual(executor.ran, [
      ['a0', 'b0'],
      ['a1', 'b1'],
    ]);
    await executor.finishAll();
    assert.deepEqual(
      [a.log.delivered, b.log.delivered],
      [
        [0, 1],
        [0, 1],
      ],
    );
  });

  it('fills batches up to the limit while the slots are busy, without a pause between', async () => {
    const { executor, open, turn, advance } = setUp(1);
    const { stream, log } = open('a');
    stream.enqueue(tileList(0));
    turn();
    stream.enqueue(tileList(1, 2, 3, 4, 5));
    turn();
    advance(7);
    await executor.finishAll();
    assert.deepEqual(executor.ran, [['a0'], ['a1', 'a2', 'a3', 'a4'], ['a5']]);
    const { batch, queueMs } = log.timings[1]!;
    const { engine, precision, computeMs, tiles, maxTiles } = batch;
    assert.deepEqual([engine, precision, computeMs, queueMs], ['onnx', 'float32', 1, 7]);
    assert.deepEqual([tiles, maxTiles], [4, 4]);
  });

  it('reports each batch with whose tiles were in it and since when the first of them waited', async () => {
    const { executor, reports, open, turn, advance } = setUp(1);
    const [a, b] = [open('a'), open('b')];
    a.stream.enqueue(tileList(0));
    advance(3);
    b.stream.enqueue(tileList(0, 1));
    advance(2);
    turn();
    await executor.finishAll();
    const [report] = reports;
    assert.deepEqual(
      { ...report, queuedSinceByTag: [...(report?.queuedSinceByTag ?? [])] },
      {
        model: 'm',
        engine: 'onnx',
        precision: 'float32',
        tiles: 3,
        maxTiles: 4,
        releaseReason: 'slot',
        computeMs: 1,
        dispatchedAt: 5,
        finishedAt: 5,
        queuedSinceByTag: [
          [a.log, 0],
          [b.log, 3],
        ],
      },
    );
    assert.equal(reports.length, 1);
  });

  it('reports why a batch left: it was full, a slot was free, or it had failed', async () => {
    const { executor, reports, open, turn } = setUp(1);
    const { stream } = open('a');
    stream.enqueue(tileList(0, 1, 2, 3, 4, 5));
    turn();
    let failures = 1;
    executor.failing = (tiles) => tiles.length === 2 && failures-- > 0;
    await executor.finishAll();
    assert.deepEqual(
      reports.map(({ tiles, releaseReason }) => [tiles, releaseReason]),
      [
        [4, 'full'],
        [1, 'retry'],
        [1, 'retry'],
      ],
    );
    stream.enqueue(tileList(6));
    turn();
    await executor.finishAll();
    assert.deepEqual(reports.at(-1)?.releaseReason, 'slot');
  });

  it('tries a failed batch again in halves: only the tile that cannot be scored fails, every other is delivered once', async () => {
    const { executor, open, turn } = setUp(1);
    executor.failing = (tiles) => tiles.includes('a1');
    const [a, b] = [open('a'), open('b')];
    a.stream.enqueue(tileList(0, 1, 2));
    b.stream.enqueue(tileList(0));
    turn();
    await executor.finishAll();
    assert.deepEqual([a.log.delivered.sort(), a.log.failed, b.log.delivered], [[0, 2], [1], [0]]);
    assert.equal(executor.freeSlots, 1);
  });

  it('fails a tile only after it failed with nothing else in flight', async () => {
    const { executor, open, turn } = setUp(3, 1);
    // Tile a1 ends the engine, and with it everything else in flight.
    executor.failing = (tiles) => tiles.includes('a1') || executor.inFlight > 1;
    const { stream, log } = open('a');
    stream.enqueue(tileList(0, 1, 2));
    turn();
    await executor.finishAll();
    assert.deepEqual([log.delivered, log.failed], [[0, 2], [1]]);
    // After the first three, one at a time.
    assert.deepEqual(executor.ran.slice(3), [['a0'], ['a1'], ['a2']]);
    assert.equal(executor.freeSlots, 3);
  });

  it('tries a tile again after each of several engines that are lost in a row', async () => {
    const { executor, open, turn } = setUp(1, 1);
    let losses = 3;
    executor.losing = (tiles) => tiles.includes('a0') && losses-- > 0;
    const { stream, log } = open('a');
    stream.enqueue(tileList(0, 1));
    turn();
    await executor.finishAll();
    assert.deepEqual([log.delivered, log.failed], [[0, 1], []]);
  });

  it('fails a tile with which every engine is lost, and no other tile', async () => {
    const { executor, open, turn } = setUp(2, 2);
    executor.losing = (tiles) => tiles.includes('a1');
    const { stream, log } = open('a');
    stream.enqueue(tileList(0, 1, 2, 3));
    turn();
    await executor.finishAll();
    assert.deepEqual([log.delivered.sort(), log.failed], [[0, 2, 3], [1]]);
    // In a batch of two, alone, and three times with nothing else in flight.
    assert.equal(executor.ran.filter((tiles) => tiles.includes('a1')).length, 5);
  });

  it('fails a tile at once that an engine without a loss cannot score', async () => {
    const { executor, open, turn } = setUp(1, 1);
    executor.failing = (tiles) => tiles.includes('a0');
    const { stream, log } = open('a');
    stream.enqueue(tileList(0));
    turn();
    await executor.finishAll();
    assert.deepEqual([log.failed, executor.ran.length], [[0], 2]);
  });

  it('has slots only for urgent tiles, which run while all others wait for a slot', async () => {
    const { executor, open, turn } = setUp(1, 2, 1000, Number.POSITIVE_INFINITY, 2);
    const routine = open('r');
    routine.stream.enqueue(tileList(0, 1, 2, 3));
    turn();
    const stat = open('s', Number.POSITIVE_INFINITY, 'stat');
    stat.stream.enqueue(tileList(0, 1, 2, 3, 4));
    turn();
    assert.deepEqual(executor.ran, [
      ['r0', 'r1'],
      ['s0', 's1'],
      ['s2', 's3'],
    ]);
    assert.deepEqual(executor.urgent, [false, true, true]);
    // A slot for all tiles is free: the urgent tile is first there too, and its batch is marked as urgent.
    await executor.finishOne();
    assert.deepEqual([executor.ran.at(-1), executor.urgent.at(-1)], [['s4'], true]);
    await executor.finishAll();
    assert.deepEqual([stat.log.delivered, routine.log.delivered], [range(5), range(4)]);
    assert.deepEqual([executor.freeSlots, executor.freeUrgentSlots], [1, 2]);
  });

  it('does not use slots for urgent tiles where the only urgent ones have expired', async () => {
    const { executor, open, turn, advance } = setUp(1, 2, 1000, Number.POSITIVE_INFINITY, 1);
    const routine = open('r');
    routine.stream.enqueue(tileList(0, 1, 2, 3));
    turn();
    const stat = open('s', 10, 'stat');
    stat.stream.enqueue(tileList(0));
    advance(11);
    turn();
    assert.deepEqual([executor.ran.length, stat.log.expired, executor.freeUrgentSlots], [1, 1, 1]);
    await executor.finishAll();
    assert.deepEqual(routine.log.delivered, range(4));
  });

  it('keeps tiles while there is no slot, and continues when slots become free', async () => {
    const { executor, open, turn } = setUp(2);
    const slots = executor.leave();
    const { stream, log } = open('a');
    stream.enqueue(tileList(0, 1));
    turn();
    assert.deepEqual(executor.ran, []);
    executor.comeBack(slots);
    turn();
    await executor.finishAll();
    assert.deepEqual([log.delivered, log.failed], [[0, 1], []]);
  });

  it('starts no tile of a closed stream, and delivers none from the batch in flight', async () => {
    const { executor, batcher, open, turn } = setUp(1);
    const { stream, log } = open('a');
    stream.enqueue(tileList(0, 1, 2, 3, 4, 5));
    turn();
    stream.close();
    assert.equal(batcher.queuedTiles, 0);
    await executor.finishAll();
    assert.deepEqual(executor.ran, [['a0', 'a1', 'a2', 'a3']]);
    assert.deepEqual([log.delivered, log.failed], [[], []]);
  });

  it('expires a stream whose deadline passed while it waited', async () => {
    const { executor, open, turn, advance } = setUp(1);
    const first = open('a');
    first.stream.enqueue(tileList(0));
    turn();
    const late = open('b', 50);
    late.stream.enqueue(tileList(0));
    advance(50);
    await executor.finishAll();
    turn();
    assert.deepEqual([late.log.expired, late.log.delivered, executor.ran.length], [1, [], 1]);
  });
});
