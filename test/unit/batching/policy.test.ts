import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { ROUND_ROBIN_EVERY } from '../../../src/batching/lane.js';
import { BatchPolicy, PRIORITY_CLASSES, type PriorityClass } from '../../../src/batching/policy.js';
import { firstTiles, tileList } from '../../support/engines/tiles.js';

const LIMITS = { maxQueuedTiles: 10_000, urgencyHorizonMs: 1000 };
const NEVER = Number.POSITIVE_INFINITY;
const range = (count: number) => Array.from({ length: count }, (_, i) => i);

interface StreamSketch {
  readonly priority?: PriorityClass;
  readonly deadline?: number;
  readonly model?: string;
  readonly tiles?: number;
  readonly peer?: string;
}

function open(policy: BatchPolicy<string>, name: string, sketch: StreamSketch = {}) {
  const { priority = 'routine', deadline = NEVER, model = 'm', tiles = 10, peer = '' } = sketch;
  const stream = policy.open({ model, priority, deadline, capacity: tiles, peer, payload: name });
  policy.enqueue(stream, firstTiles(tiles), 0);
  return stream;
}

/** Owners of the tiles of the next batch, in order. */
function next(policy: BatchPolicy<string>, limit = 1, now = 0): string[] {
  return (policy.next(now, () => limit).batch?.tiles ?? []).map(({ payload }) => payload);
}

describe('BatchPolicy', () => {
  it('serves streams in turns, for any size', () => {
    const policy = new BatchPolicy<string>(LIMITS);
    open(policy, 'big', { tiles: 1000 });
    next(policy, 5);
    open(policy, 'small', { tiles: 2 });
    assert.deepEqual(next(policy, 5), ['big', 'small', 'big', 'small', 'big']);
  });

  it('serves peers in turns, for any number, sizes and deadlines of their streams', () => {
    const policy = new BatchPolicy<string>(LIMITS);
    for (let index = 0; index < 100; index++) open(policy, 'many', { peer: 'a', deadline: 500, tiles: 50 });
    open(policy, 'one', { peer: 'b', tiles: 3 });
    assert.deepEqual(next(policy, 8), ['many', 'one', 'many', 'one', 'many', 'one', 'many', 'many']);
    open(policy, 'another', { peer: 'c', tiles: 1 });
    open(policy, 'one more', { peer: 'b', tiles: 2 });
    assert.deepEqual(next(policy, 6).sort(), ['another', 'many', 'many', 'many', 'one more', 'one more']);
  });

  it('serves urgent tiles last on request', () => {
    const policy = new BatchPolicy<string>(LIMITS);
    open(policy, 'stat', { priority: 'stat', tiles: 1 });
    open(policy, 'background', { priority: 'background', tiles: 1 });
    const served = () => policy.next(0, () => 8, 'background', true).batch?.priority;
    assert.deepEqual([served(), served(), served()], ['background', 'stat', undefined]);
  });

  it('serves STAT before ROUTINE before BACKGROUND, in separate batches', () => {
    const policy = new BatchPolicy<string>(LIMITS);
    open(policy, 'background', { priority: 'background', tiles: 1 });
    open(policy, 'routine', { tiles: 1 });
    open(policy, 'stat', { priority: 'stat', tiles: 1 });
    assert.deepEqual(
      [next(policy, 8), next(policy, 8), next(policy, 8)],
      [['stat'], ['routine'], ['background']],
    );
  });

  it('serves no class after the last one requested', () => {
    const policy = new BatchPolicy<string>(LIMITS);
    const upTo = (last: PriorityClass) => policy.next(0, () => 8, last).batch?.priority;
    open(policy, 'routine', { tiles: 1 });
    assert.equal(upTo('stat'), undefined);
    open(policy, 'stat', { priority: 'stat', tiles: 1 });
    assert.deepEqual([upTo('stat'), upTo('stat'), upTo('routine')], ['stat', undefined, 'routine']);
  });

  it('serves the earliest deadline first once it is near, the others in turns', () => {
    const policy = new BatchPolicy<string>(LIMITS);
    open(policy, 'none', { tiles: 3 });
    open(policy, 'later', { deadline: 900, tiles: 2 });
    open(policy, 'soon', { deadline: 500, tiles: 2 });
    open(policy, 'far', { deadline: 60_000, tiles: 3 });
    assert.deepEqual(next(policy, 4), ['soon', 'soon', 'later', 'later']);
    assert.deepEqual(next(policy, 4).sort(), ['far', 'far', 'none', 'none']);
  });

  it('keeps serving the others while urgent streams never end', () => {
    const policy = new BatchPolicy<string>(LIMITS);
    open(policy, 'patient', { tiles: 3 });
    const served: string[] = [];
    for (let now = 0; now < 8 * ROUND_ROBIN_EVERY; now++) {
      open(policy, 'urgent', { deadline: now + 100, tiles: 2 });
      served.push(...next(policy, 1, now));
    }
    assert.equal(served.filter((name) => name === 'patient').length, 3);
  });

  it('drops expired streams before they reach a batch and names them once', () => {
    const policy = new BatchPolicy<string>(LIMITS);
    open(policy, 'expired', { deadline: 10 });
    open(policy, 'alive', { tiles: 1 });
    const selection = policy.next(10, () => 8);
    assert.deepEqual(selection.expired, ['expired']);
    assert.deepEqual(
      selection.batch?.tiles.map(({ payload }) => payload),
      ['alive'],
    );
    assert.deepEqual(
      policy.next(11, () => 8),
      { batch: undefined, expired: [] },
    );
    assert.deepEqual([policy.queuedTiles, policy.reservedTiles], [0, 1]);
  });

  it('serves models in turns, one model in each batch', () => {
    const policy = new BatchPolicy<string>(LIMITS);
    open(policy, 'a', { model: 'a', tiles: 4 });
    open(policy, 'b', { model: 'b', tiles: 4 });
    const batches = range(4).map(() => policy.next(0, () => 2).batch?.model);
    assert.deepEqual(batches, ['a', 'b', 'a', 'b']);
  });

  it('refuses a stream that could exceed the queue, and accepts it once there is room', () => {
    const policy = new BatchPolicy<string>({ ...LIMITS, maxQueuedTiles: 20 });
    const first = open(policy, 'first', { tiles: 15 });
    assert.throws(() => open(policy, 'second', { tiles: 6 }), { reason: 'OVERLOADED' });
    assert.equal(policy.close(first), 15);
    assert.equal(policy.close(first), 0);
    open(policy, 'second', { tiles: 6 });
    assert.equal(policy.reservedTiles, 6);
  });

  it('neither loses nor doubles a tile, keeps order within a stream and never exceeds its bound', () => {
    const action = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant('enqueue' as const),
          who: fc.nat(7),
          count: fc.integer({ min: 1, max: 5 }),
        }),
      },
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant('next' as const), limit: fc.integer({ min: 1, max: 6 }) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('close' as const), who: fc.nat(7) }) },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 400 }) }),
      },
    );
    const stream = fc.record({
      priority: fc.constantFrom(...PRIORITY_CLASSES),
      deadline: fc.option(fc.integer({ min: 1, max: 3000 }), { nil: NEVER }),
      model: fc.constantFrom('a', 'b'),
    });
    const property = fc.property(
      fc.array(stream, { minLength: 8, maxLength: 8 }),
      fc.array(action, { maxLength: 120 }),
      (sketches, actions) => {
        const maxQueuedTiles = 8 * 40;
        const policy = new BatchPolicy<number>({ maxQueuedTiles, urgencyHorizonMs: 500 });
        const streams = sketches.map((sketch, payload) => policy.open({ ...sketch, capacity: 40, payload }));
        const expected = sketches.map((): number[] => []);
        const closed = new Set<number>();
        const produced = sketches.map(() => 0);
        let now = 0;
        const take = (limit: number) => {
          const { batch, expired } = policy.next(now, () => limit);
          for (const who of expired) {
            assert.ok(sketches[who]!.deadline <= now);
            closed.add(who);
            expected[who] = [];
          }
          if (batch === undefined) {
            assert.ok(expected.every((waiting) => waiting.length === 0));
            return false;
          }
          assert.ok(batch.tiles.length >= 1 && batch.tiles.length <= limit);
          const rank = (who: number) => PRIORITY_CLASSES.indexOf(sketches[who]!.priority);
          const classes = new Set(batch.tiles.map(({ payload }) => rank(payload)));
          const best = Math.min(
            ...expected.flatMap((waiting, who) => (waiting.length > 0 ? [rank(who)] : [])),
          );
          assert.deepEqual([...classes], [best]);
          for (const { payload, tile } of batch.tiles) {
            assert.equal(sketches[payload]!.model, batch.model);
            assert.equal(expected[payload]!.shift(), tile);
          }
          return true;
        };
        for (const step of actions) {
          if (step.kind === 'wait') now += step.ms;
          if (step.kind === 'next') take(step.limit);
          if (step.kind === 'close') {
            policy.close(streams[step.who]!);
            closed.add(step.who);
            expected[step.who] = [];
          }
          if (step.kind === 'enqueue' && expected[step.who]!.length + step.count <= 40) {
            const tiles = tileList(...range(step.count).map(() => produced[step.who]!++));
            policy.enqueue(streams[step.who]!, tiles, now);
            if (!closed.has(step.who)) expected[step.who]!.push(...tiles);
          }
          assert.equal(policy.queuedTiles, expected.flat().length);
          assert.ok(policy.queuedTiles <= policy.reservedTiles && policy.reservedTiles <= maxQueuedTiles);
        }
        for (let left = 1000; left > 0 && take(4); left--);
        assert.equal(policy.queuedTiles, 0);
      },
    );
    fc.assert(property, { numRuns: 300, seed: 1 });
  });

  it('gives equal streams equal shares to within one tile at every moment', () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 30 }),
      (streamCount, limit, batches) => {
        const policy = new BatchPolicy<string>(LIMITS);
        for (const who of range(streamCount)) open(policy, `s${who}`, { tiles: 300 });
        const served = new Map<string, number>();
        for (let i = 0; i < batches; i++) {
          for (const who of next(policy, limit)) served.set(who, (served.get(who) ?? 0) + 1);
        }
        const counts = range(streamCount).map((who) => served.get(`s${who}`) ?? 0);
        assert.ok(Math.max(...counts) - Math.min(...counts) <= 1);
      },
    );
    fc.assert(property, { numRuns: 100, seed: 2 });
  });
});
