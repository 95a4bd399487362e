import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { FailedDeliveries } from '../../../../clients/modality/src/delivery/failed-deliveries.js';

const between = (value: number, least: number, most: number) =>
  assert.ok(value >= least && value <= most, `${value} is not between ${least} and ${most}`);

describe('deliveries that failed', () => {
  it('pause a destination that is away, up to 5 minutes, and let the others come first', () => {
    const failed = new FailedDeliveries();
    for (const [index, most] of [1000, 2000, 4000].entries()) {
      const { delayMs, pauseMs } = failed.failed(index);
      assert.equal(delayMs, 0);
      between(pauseMs, most / 2, most);
    }
    assert.deepEqual([...failed.heldBack], [0, 1, 2]);
    for (let attempt = 0; attempt < 1000; attempt++)
      assert.ok(!failed.failed(7, 'archiveOrObject').isGivenUp);
    between(failed.failed(7).pauseMs, 150_000, 300_000);
    failed.took();
    assert.equal(failed.heldBack.size, 0);
    between(failed.failed(8).pauseMs, 500, 1000);
  });

  it('of one object alone pause nothing, wait longer each time, and are given up after about an hour', () => {
    const failed = new FailedDeliveries();
    failed.failed(1, 'archiveOrObject');
    let waitedMs = 0;
    for (let attempt = 1; attempt < 10; attempt++) {
      failed.took();
      const { isGivenUp, delayMs, pauseMs } = failed.failed(1, 'archiveOrObject');
      assert.deepEqual([isGivenUp, pauseMs], [false, 0]);
      waitedMs += delayMs;
    }
    between(waitedMs, 50 * 60_000, 105 * 60_000);
    // Nothing was taken since: it is not counted.
    assert.ok(!failed.failed(1, 'archiveOrObject').isGivenUp);
    failed.took();
    assert.ok(failed.failed(1, 'archiveOrObject').isGivenUp);
  });
});
