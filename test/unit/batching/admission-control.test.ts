import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { poissonGaps } from '../../../clients/load/src/statistics.js';
import { Batcher } from '../../../src/batching/batcher.js';
import {
  type AdmissionLimits,
  AnnouncedTiles,
  type Announcement,
  longestWaitMs,
  tilesAhead,
} from '../../../src/batching/expected-wait.js';
import { OverloadDetector } from '../../../src/batching/overload.js';
import { TileCounts } from '../../../src/batching/tile-counts.js';
import type { BatchExecutor } from '../../../src/batching/types.js';
import { CONFIG_FIELDS } from '../../../src/config/schema.js';
import { createRandom } from '../../../src/util/random.js';
import { firstTiles } from '../../support/engines/tiles.js';

const HORIZON = 100;

describe('AnnouncedTiles', () => {
  it('counts the tiles that recent streams have announced and not sent, in any sequence of events', () => {
    const action = fc.oneof(
      fc.record({
        kind: fc.constant('add' as const),
        rank: fc.nat(2),
        tiles: fc.integer({ min: 1, max: 9 }),
      }),
      fc.record({ kind: fc.constant('arrive' as const), who: fc.nat(20), tiles: fc.nat(12) }),
      fc.record({ kind: fc.constant('withdraw' as const), who: fc.nat(20) }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(60) }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const announced = new AnnouncedTiles(3, HORIZON);
        const made: { announcement: Announcement; rank: number; at: number; left: number }[] = [];
        let now = 0;
        for (const step of actions) {
          if (step.kind === 'wait') now += step.ms;
          if (step.kind === 'add') {
            const announcement = { peer: `p${step.tiles % 2}`, rank: step.rank, left: step.tiles };
            announced.add(announcement, now);
            made.push({ announcement, rank: step.rank, at: now, left: step.tiles });
          }
          const one = 'who' in step ? made[step.who] : undefined;
          if (one !== undefined && step.kind === 'arrive') {
            announced.arrived(one.announcement, step.tiles);
            one.left = Math.max(0, one.left - step.tiles);
          }
          if (one !== undefined && step.kind === 'withdraw') {
            announced.withdraw(one.announcement);
            one.left = 0;
          }
          announced.expire(now);
          for (const rank of [0, 1, 2]) {
            const left = (peer?: string) =>
              made
                .filter((each) => each.rank === rank && now - each.at < HORIZON)
                .filter(({ announcement }) => peer === undefined || announcement.peer === peer)
                .reduce((sum, each) => sum + each.left, 0);
            assert.equal(announced.tiles.total(rank), left());
            assert.deepEqual(
              ['p0', 'p1'].map((peer) => announced.tiles.of(rank, peer)),
              [left('p0'), left('p1')],
            );
          }
        }
      }),
      { numRuns: 300, seed: 1 },
    );
  });
});

describe('tilesAhead', () => {
  const counts = (...tiles: [rank: number, peer: string, count: number][]) => {
    const made = new TileCounts(3);
    for (const [rank, peer, count] of tiles) made.add(rank, peer, count);
    return made;
  };
  const none = counts();

  it('counts all tiles of more urgent classes, and of its own class as many as are served in turn', () => {
    const queued = counts([0, 'a', 5], [1, 'a', 100], [1, 'b', 50], [1, 'c', 2], [2, 'a', 1000]);
    const ahead = (peer: string) => tilesAhead({ queued, announced: none, urgentShare: 1 }, 1, peer);
    // One tile of each of the three others.
    assert.equal(ahead('new'), 5 + 3);
    // Its two tiles, and one tile of both others before each of them and before the new tile.
    assert.equal(ahead('c'), 5 + 2 * 3 + 2);
    // At most the existing tiles.
    assert.equal(ahead('a'), 5 + 152);
  });

  it('counts the announced tiles of a peer', () => {
    const announced = counts([1, 'a', 30]);
    const ahead = (peer: string) => tilesAhead({ queued: none, announced, urgentShare: 1 }, 1, peer);
    assert.deepEqual([ahead('a'), ahead('b')], [30, 1]);
  });

  it('limits urgent tiles to their share while others wait', () => {
    const queued = counts([0, 'a', 1000], [1, 'b', 10]);
    const ahead = (urgentShare: number) => tilesAhead({ queued, announced: none, urgentShare }, 1, 'b');
    assert.deepEqual([ahead(1), ahead(0.75)], [1010, 40]);
  });
});

describe('longestWaitMs', () => {
  it('accepts a wait in proportion for large streams, and the minimum for small ones', () => {
    const limits = { maxQueueMs: 150, maxQueueRatio: 8 };
    assert.deepEqual(
      [0, 1, 18.75, 20, 1000].map((ownMs) => longestWaitMs(limits, ownMs)),
      [150, 150, 150, 160, 8000],
    );
  });
});

interface Work {
  /** Engine time of all tiles of one acquisition in full batches, in ms. */
  readonly ownMs: number;
  readonly tiles: number;
  /** Between admission and the last tile's arrival, uniform from 0, in ms. */
  readonly uploadMsMax: number;
  /** Largest number of tiles in a batch. @default 8 */
  readonly batch?: number;
  /** Share of the time of a full batch that a batch takes however small it is. @default 0 */
  readonly fixedShare?: number;
}

/** Of a worker: its next batch is ready before the current one ends. */
const SLOTS = 2;
/** As shipped. */
const RETRY_MS = CONFIG_FIELDS.retryDelayMs.default;
const LIMITS: AdmissionLimits = {
  maxQueueMs: CONFIG_FIELDS.maxQueueMs.default,
  maxQueueRatio: CONFIG_FIELDS.maxQueueRatio.default,
  overloadQueueRatio: CONFIG_FIELDS.overloadQueueRatio.default,
};

/** Poisson arrivals at `load` times the engine's throughput, or as many streams as send their next after the last. */
type Offered = { readonly load: number } | { readonly streams: number };

/** The real batcher with one engine, in virtual time. The first acquisitions are not counted. */
async function simulate(offered: Offered, work: Work, seed: number) {
  const { ownMs, tiles, uploadMsMax, batch = 8, fixedShare = 0 } = work;
  const msPerTile = ownMs / tiles;
  const batchMs = (count: number) => msPerTile * (fixedShare * batch + (1 - fixedShare) * count);
  const endMs = Math.max(3000 * ownMs, 15_000);
  const countedFromMs = Math.min(3000, 0.2 * endMs) + 100 * ownMs;
  let now = 0;
  let scored = 0;
  let free = SLOTS;
  let engineFreeAt = 0;
  const events: { at: number; run: () => void }[] = [];
  const at = (moment: number, run: () => void) => {
    let index = events.length;
    while (index > 0 && events[index - 1]!.at > moment) index -= 1;
    events.splice(index, 0, { at: moment, run });
  };
  const executor: BatchExecutor<object> = {
    get freeSlots() {
      return free;
    },
    freeUrgentSlots: 0,
    acquire() {
      free -= 1;
      return {};
    },
    release() {
      free += 1;
    },
    maxBatchSize: () => batch,
    onChange() {},
    isLoss: () => false,
    run: (_model, _slot, count) =>
      new Promise((resolve) => {
        const computeMs = batchMs(count);
        engineFreeAt = Math.max(engineFreeAt, now) + computeMs;
        at(engineFreeAt, () => {
          scored += count;
          resolve({ engine: 'onnx', precision: 'float32', computeMs });
        });
      }),
  };
  const batcher = new Batcher<object>({
    executor,
    limits: { maxQueuedTiles: 1_000_000, urgencyHorizonMs: 1000 },
    admission: LIMITS,
    now: () => now,
    soon: (task) => at(now, task),
  });
  const latencies: number[] = [];
  let refused = 0;
  const random = createRandom(seed);
  const arrive = (onEnd: () => void) => {
    const started = now;
    let left = tiles;
    try {
      const stream = batcher.open({
        model: 'm',
        priority: 'routine',
        deadline: Number.POSITIVE_INFINITY,
        capacity: tiles,
        handler: {
          fill() {},
          deliver() {
            left -= 1;
            if (left > 0) return;
            if (started >= countedFromMs) latencies.push(now - started);
            stream.close();
            onEnd();
          },
          fail: () => assert.fail('a tile failed'),
          expire: () => assert.fail('a tile expired'),
        },
      });
      const uploadMs = random() * uploadMsMax;
      at(now + uploadMs, () => stream.enqueue(firstTiles(tiles)));
    } catch {
      if (started >= countedFromMs) refused += 1;
      at(now + RETRY_MS, onEnd);
    }
  };
  if ('streams' in offered) {
    const next = () => at(now, () => arrive(next));
    for (let stream = 0; stream < offered.streams; stream++) next();
  } else {
    const gap = poissonGaps((1000 * offered.load) / ownMs, seed);
    const arrivals = () => {
      arrive(() => {});
      at(now + gap(), arrivals);
    };
    at(gap(), arrivals);
  }
  for (let event = events.shift(); event !== undefined && event.at < endMs; event = events.shift()) {
    now = event.at;
    event.run();
    // The batcher continues after a batch in promises; a turn of the event loop for each would take seconds.
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  }
  latencies.sort((a, b) => a - b);
  return {
    p99Ms: latencies[Math.floor(0.99 * latencies.length)] ?? Number.NaN,
    goodput: (scored * msPerTile) / endMs,
    refused,
    admitted: latencies.length,
  };
}

describe('OverloadDetector', () => {
  const longest = (detector: OverloadDetector, queued: number, now: number, own = 10, msPerTile = 100) =>
    detector.longestQueue({ rank: 1, queued, own, msPerTile, now });

  it('sets no limit to a burst, and the ratio of a usual acquisition once the queue was not short for a second', () => {
    const detector = new OverloadDetector(3, 4);
    for (let count = 0; count < 100; count++) detector.admitted(10);
    assert.equal(longest(detector, 9, 0), Number.POSITIVE_INFINITY);
    assert.equal(longest(detector, 1000, 999), Number.POSITIVE_INFINITY);
    assert.equal(Math.round(longest(detector, 11, 1000)), 40);
    // Small ones are judged by the usual size, large ones by their own.
    assert.equal(Math.round(longest(detector, 11, 1001, 1)), 40);
    assert.equal(longest(detector, 1000, 1002, 100), 400);
    assert.equal(longest(detector, 9, 1003), Number.POSITIVE_INFINITY);
  });

  it('judges each priority class alone', () => {
    const detector = new OverloadDetector(3, 4);
    detector.admitted(10);
    const inClass = (rank: number, queued: number) =>
      detector.longestQueue({ rank, queued, own: 10, msPerTile: 100, now: 5000 });
    inClass(0, 0);
    assert.equal(inClass(1, 1000), 40);
    assert.equal(inClass(0, 1000), Number.POSITIVE_INFINITY);
  });

  it('weighs acquisitions by their size', () => {
    const detector = new OverloadDetector(3, 1);
    for (let count = 0; count < 1000; count++) detector.admitted(count % 2 === 0 ? 1000 : 1);
    const usual = longest(detector, 1e6, 1e6, 1);
    assert.ok(usual > 990 && usual <= 1000, `${usual}`);
  });

  it('lets tiles wait for a tenth of a second, however small a usual acquisition is', () => {
    const detector = new OverloadDetector(3, 4);
    detector.admitted(10);
    const [own, msPerTile] = [10, 0.1];
    assert.equal(longest(detector, 251, 1000, own, msPerTile), 1000);
    assert.equal(longest(detector, 250, 1001, own, msPerTile), Number.POSITIVE_INFINITY);
    assert.equal(longest(detector, 251, 2000, own, msPerTile), Number.POSITIVE_INFINITY);
    assert.equal(longest(detector, 251, 2001, own, msPerTile), 1000);
    assert.equal(longest(detector, 251, 2002, own, 10), 40);
  });

  it('sets no limit with the ratio 0', () => {
    assert.equal(longest(new OverloadDetector(3, 0), 1e9, 1e9), Number.POSITIVE_INFINITY);
  });
});

describe('admission by waiting time, as shipped', function () {
  this.timeout(60_000);

  it('at twice the rate: the engine is fully used, and admitted streams wait at most three times as long', async () => {
    // A machine, one of half its speed, a slow one, and one whose batches hold 64 acquisitions.
    for (const [work, seed] of [
      [{ ownMs: 8, tiles: 64, uploadMsMax: 20 }, 1],
      [{ ownMs: 16, tiles: 64, uploadMsMax: 40 }, 2],
      [{ ownMs: 1000, tiles: 64, uploadMsMax: 400 }, 3],
      [{ ownMs: 0.4, tiles: 4, uploadMsMax: 5, batch: 256, fixedShare: 0.5 }, 4],
    ] as const) {
      const calm = await simulate({ load: 0.8 }, work, seed);
      const over = await simulate({ load: 2 }, work, seed);
      const results = JSON.stringify({ work, calm, over });
      assert.ok(over.goodput >= 0.95, results);
      assert.ok(over.p99Ms <= 3 * calm.p99Ms, results);
      assert.ok(over.refused >= 0.4 * (over.refused + over.admitted), results);
      assert.ok(calm.refused <= 0.02 * (calm.refused + calm.admitted), results);
    }
  });

  it('refuses nobody for a tenth of a second: a fast engine waits for the tiles of admitted streams', async () => {
    const fast = { ownMs: 0.4, tiles: 4, uploadMsMax: 20, batch: 32, fixedShare: 0.5 };
    const { refused, admitted, goodput } = await simulate({ streams: 192 }, fast, 1);
    assert.equal(refused, 0);
    assert.ok(admitted > 1000 && goodput >= 0.95, `${admitted} admitted, goodput ${goodput}`);
  });
});
