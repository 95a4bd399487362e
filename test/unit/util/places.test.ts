import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SaladError } from '../../../src/errors/index.js';
import { Places } from '../../../src/util/places.js';

describe('Places', () => {
  it('grants its places, then one after another in the order of calls, and releases a place once', async () => {
    const places = new Places(2);
    const order: number[] = [];
    const leaves = await Promise.all([places.enter(), places.enter()]);
    const later = [3, 4, 5].map((number) =>
      places.enter().then((leave) => {
        order.push(number);
        return leave;
      }),
    );
    await Promise.resolve();
    assert.deepEqual([order, places.waiting], [[], 3]);
    leaves[0]!();
    leaves[0]!();
    await later[0];
    assert.deepEqual([order, places.waiting], [[3], 2]);
    leaves[1]!();
    (await later[0]!)();
    await Promise.all(later);
    assert.deepEqual(order, [3, 4, 5]);
  });

  it('removes a caller that aborts while it waits, and grants the place to the next', async () => {
    const places = new Places(1);
    const leave = await places.enter();
    const controller = new AbortController();
    const gone = places.enter(controller.signal);
    const next = places.enter();
    controller.abort(new SaladError('CANCELLED', 'gone'));
    await assert.rejects(gone, { reason: 'CANCELLED' });
    assert.equal(places.waiting, 1);
    leave();
    (await next)();
    await assert.rejects(places.enter(controller.signal), { reason: 'CANCELLED' });
    (await places.enter())();
  });
});
