import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Series } from '../../../../clients/load/src/series.js';

/** A series of windows of 1 s from 0, with these numbers of acquisitions of these latencies. */
function seriesOf(windows: readonly (readonly [count: number, latencyMs: number])[]): Series {
  const series = new Series(0, 1000);
  for (const [window, [count, latencyMs]] of windows.entries()) {
    for (let index = 0; index < count; index++) {
      series.add(window * 1000 + (index * 1000) / count, { isOk: true, latencyMs, tiles: 4 });
    }
  }
  series.finish(windows.length * 1000);
  return series;
}

describe('Series', () => {
  it('counts in the window in which an acquisition ended, and keeps empty windows', () => {
    const series = new Series(1000, 500);
    series.add(900, { isOk: true, latencyMs: 5, tiles: 1 });
    series.add(1100, { isOk: true, latencyMs: 10, tiles: 3 });
    series.add(2100, { isOk: false, latencyMs: 1, tiles: 0 });
    series.finish(2500);
    assert.deepEqual(
      series.rows.map(({ fromSeconds, seconds, ok, failed, tiles, okPerSecond, p50Ms }) => ({
        ...{ fromSeconds, seconds, ok, failed, tiles, okPerSecond, p50Ms },
      })),
      [
        { fromSeconds: 0, seconds: 0.5, ok: 1, failed: 0, tiles: 3, okPerSecond: 2, p50Ms: 10 },
        { fromSeconds: 0.5, seconds: 0.5, ok: 0, failed: 0, tiles: 0, okPerSecond: 0, p50Ms: null },
        { fromSeconds: 1, seconds: 0.5, ok: 0, failed: 1, tiles: 0, okPerSecond: 0, p50Ms: null },
      ],
    );
  });

  it('leaves out a last window that is shorter than half of one', () => {
    const series = new Series(0, 1000);
    series.finish(2400);
    assert.equal(series.rows.length, 2);
    const longer = new Series(0, 1000);
    longer.finish(2600);
    assert.deepEqual(longer.rows.at(-1)?.seconds, 0.6);
  });

  it('is stable when throughput and mean latency of three windows are near their mean', () => {
    const steady = [
      [100, 10],
      [103, 10.2],
      [98, 9.9],
    ] as const;
    assert.ok(seriesOf(steady).isStable({ percent: 5 }));
    assert.ok(seriesOf([[10, 99], ...steady]).isStable({ percent: 5 }));
    assert.ok(!seriesOf(steady).isStable({ percent: 1 }));
    assert.ok(!seriesOf(steady.slice(1)).isStable({ percent: 5 }), 'two windows are not enough');
    assert.ok(!seriesOf([...steady, [100, 20]]).isStable({ percent: 5 }), 'latency');
    assert.ok(!seriesOf([...steady, [50, 10]]).isStable({ percent: 5 }), 'throughput');
    const idle = [0, 0, 0].map(() => [0, 0] as const);
    assert.ok(!seriesOf(idle).isStable({ percent: 100 }), 'nothing was scored');
  });
});
