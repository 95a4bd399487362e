import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { compareSeries, type SeriesRow } from '../../../../clients/load/src/index.js';
import { seriesRow } from '../../../../clients/load/src/series.js';
import { Latencies } from '../../../../clients/load/src/statistics.js';
import { createRandom } from '../../../../src/util/random.js';

/** Windows of 1 s with about `rate` acquisitions, each of about `ms`, both with a spread of a tenth. */
function run(seed: number, rate: number, ms: number, windows = 30): readonly SeriesRow[] {
  const random = createRandom(seed);
  const about = (value: number) => value * (0.95 + random() / 10);
  return Array.from({ length: windows }, (_, fromSeconds) => {
    const latencies = new Latencies();
    const count = Math.round(about(rate));
    for (let index = 0; index < count; index++) latencies.add(about(ms));
    return seriesRow({ fromSeconds, seconds: 1, failed: 0, tiles: 4 * count }, latencies);
  });
}

describe('compareSeries', () => {
  it('shows a change that is larger than the variation of the windows, within its interval', () => {
    const { metrics, windows } = compareSeries(run(1, 100, 20), run(2, 80, 30));
    assert.deepEqual(windows, { a: 30, b: 30 });
    for (const [name, ratio] of [
      ['acquisitionsPerSecond', 0.8],
      ['tilesPerSecond', 0.8],
      ['p50Ms', 1.5],
      ['p99Ms', 1.5],
      ['meanMs', 1.5],
    ] as const) {
      const change = metrics[name];
      const [low, high] = change.ratioCi95;
      assert.ok(change.isChanged, name);
      assert.ok(low <= ratio && ratio <= high, `${name}: ${low} to ${high}`);
      assert.ok(low <= change.ratio && change.ratio <= high, name);
      assert.ok(high - low < 0.1, `${name}: ${low} to ${high}`);
    }
  });

  it('shows no change of throughput in most pairs of equal runs', () => {
    const changed = Array.from({ length: 8 }, (_, pair) =>
      compareSeries(run(2 * pair + 10, 100, 20), run(2 * pair + 11, 100, 20)),
    ).filter(({ metrics }) => metrics.acquisitionsPerSecond.isChanged);
    // 95 % intervals: each pair misses with a probability of 0.05.
    assert.ok(changed.length <= 2, `${changed.length} of 8`);
  });

  it('gives the same intervals for the same seed', () => {
    const [a, b] = [run(1, 50, 10), run(2, 50, 10)];
    assert.deepEqual(compareSeries(a, b, 7), compareSeries(a, b, 7));
    assert.notDeepEqual(compareSeries(a, b, 7).metrics, compareSeries(a, b, 8).metrics);
  });

  it('refuses series that say nothing about their variation', () => {
    assert.throws(() => compareSeries(run(1, 50, 10, 4), run(2, 50, 10)), /A has 4 windows .* at least 5/);
    assert.throws(() => compareSeries(run(1, 50, 10), run(2, 0, 10)), /no acquisition .* of B/);
  });
});
