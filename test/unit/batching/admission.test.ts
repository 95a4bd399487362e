import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { poissonGaps } from '../../../clients/load/src/statistics.js';
import { Announced, type Announcement, longestWaitMs } from '../../../src/batching/admission.js';
import { Batcher } from '../../../src/batching/batcher.js';
import type { BatchExecutor } from '../../../src/batching/types.js';
import { createRandom } from '../../../src/util/random.js';

const HORIZON = 100;

describe('Announced', () => {
  it('holds what young streams have announced and not sent, whatever happens', () => {
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
        const announced = new Announced(3, HORIZON);
        const made: { announcement: Announcement; rank: number; at: number; left: number }[] = [];
        let now = 0;
        for (const step of actions) {
          if (step.kind === 'wait') now += step.ms;
          if (step.kind === 'add') {
            const announcement = { rank: step.rank, left: step.tiles };
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
          for (const rank of [0, 1, 2]) {
            const expected = made.filter((each) => each.rank <= rank && now - each.at < HORIZON);
            assert.equal(
              announced.before(rank, now),
              expected.reduce((sum, { left }) => sum + left, 0),
            );
          }
        }
      }),
      { numRuns: 300, seed: 1 },
    );
  });
});

describe('longestWaitMs', () => {
  it('lets large work wait in proportion, and small work as long as the floor', () => {
    const limits = { maxQueueMs: 150, maxQueueRatio: 8 };
    assert.deepEqual(
      [0, 1, 18.75, 20, 1000].map((ownMs) => longestWaitMs(limits, ownMs)),
      [150, 150, 150, 160, 8000],
    );
  });
});

interface Work {
  /** What all tiles of one acquisition take, in ms. */
  readonly ownMs: number;
  readonly tiles: number;
  /** Between admission and the last tile's arrival, uniform from 0, in ms. */
  readonly uploadMsMax: number;
}

const BATCH = 8;
const LIMITS = { maxQueueMs: 150, maxQueueRatio: 8 };

/** One engine of steady pace behind the real batcher, in virtual time. Poisson arrivals at `load` times what it can do. */
async function simulate(load: number, { ownMs, tiles, uploadMsMax }: Work, seed: number) {
  const msPerTile = ownMs / tiles;
  const endMs = 3000 * ownMs;
  let now = 0;
  let busyMs = 0;
  let free = true;
  const events: { at: number; run: () => void }[] = [];
  const at = (moment: number, run: () => void) => {
    let index = events.length;
    while (index > 0 && events[index - 1]!.at > moment) index -= 1;
    events.splice(index, 0, { at: moment, run });
  };
  const executor: BatchExecutor<object> = {
    get freeSlots() {
      return free ? 1 : 0;
    },
    freeUrgentSlots: 0,
    acquire() {
      free = false;
      return {};
    },
    release() {
      free = true;
    },
    maxBatchSize: () => BATCH,
    onChange() {},
    isLoss: () => false,
    run: (_model, _slot, count) =>
      new Promise((resolve) => {
        busyMs += count * msPerTile;
        at(now + count * msPerTile, () =>
          resolve({ engine: 'onnx', precision: 'float32', computeMs: count * msPerTile }),
        );
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
  const arrive = () => {
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
            latencies.push(now - started);
            stream.close();
          },
          fail: () => assert.fail('a tile failed'),
          expire: () => assert.fail('a tile expired'),
        },
      });
      const uploadMs = random() * uploadMsMax;
      at(now + uploadMs, () => stream.enqueue(Array.from({ length: tiles }, (_, tile) => tile)));
    } catch {
      refused += 1;
    }
  };
  const gap = poissonGaps((1000 * load) / ownMs, seed);
  const arrivals = () => {
    arrive();
    at(now + gap(), arrivals);
  };
  at(gap(), arrivals);
  for (let event = events.shift(); event !== undefined && event.at < endMs; event = events.shift()) {
    now = event.at;
    event.run();
    // What the batcher does after a batch, it does in promises; a turn of the event loop each would take seconds.
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  }
  latencies.sort((a, b) => a - b);
  return {
    p99Ms: latencies[Math.floor(0.99 * latencies.length)] ?? Number.NaN,
    goodput: busyMs / endMs,
    refused,
    admitted: latencies.length,
  };
}

describe('admission by waiting time', function () {
  this.timeout(60_000);

  it('at twice the rate: nothing of the engine is lost, and whoever is let in waits at most twice as long', async () => {
    for (const [work, seed] of [
      [{ ownMs: 20, tiles: 64, uploadMsMax: 60 }, 1],
      [{ ownMs: 1000, tiles: 64, uploadMsMax: 400 }, 3],
    ] as const) {
      const calm = await simulate(0.8, work, seed);
      const over = await simulate(2, work, seed);
      const told = JSON.stringify({ work, calm, over });
      assert.ok(over.goodput >= 0.95, told);
      assert.ok(over.p99Ms <= 2 * calm.p99Ms, told);
      assert.ok(over.refused >= 0.4 * (over.refused + over.admitted), told);
      assert.ok(calm.refused <= 0.02 * (calm.refused + calm.admitted), told);
    }
  });
});
