import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SaladError } from '../../../../src/errors/index.js';
import { decodeImage } from '../../../../src/imaging/decode/decode.js';
import { DecodeQueue } from '../../../../src/imaging/decode/queue.js';
import { GREY, png } from '../../../support/images/png.js';

describe('DecodeQueue', () => {
  it('grants its places, then one after another in the order of calls, and releases a place once', async () => {
    const queue = new DecodeQueue(2);
    const order: number[] = [];
    const leaves = await Promise.all([queue.enter(), queue.enter()]);
    const later = [3, 4, 5].map((number) =>
      queue.enter().then((leave) => {
        order.push(number);
        return leave;
      }),
    );
    await Promise.resolve();
    assert.deepEqual([order, queue.waiting], [[], 3]);
    leaves[0]!();
    leaves[0]!();
    await later[0];
    assert.deepEqual([order, queue.waiting], [[3], 2]);
    leaves[1]!();
    (await later[0]!)();
    await Promise.all(later);
    assert.deepEqual(order, [3, 4, 5]);
  });

  it('removes a caller that aborts while it waits, and grants the place to the next', async () => {
    const queue = new DecodeQueue(1);
    const leave = await queue.enter();
    const controller = new AbortController();
    const gone = queue.enter(controller.signal);
    const next = queue.enter();
    controller.abort(new SaladError('CANCELLED', 'gone'));
    await assert.rejects(gone, { reason: 'CANCELLED' });
    assert.equal(queue.waiting, 1);
    leave();
    (await next)();
    await assert.rejects(queue.enter(controller.signal), { reason: 'CANCELLED' });
    (await queue.enter())();
  });
});

describe('decodeImage with a queue', () => {
  const file = png({ rows: 4, columns: 4, bits: 8, colourType: GREY, values: new Array(16).fill(7) });

  it('neither reserves nor decodes anything for a call that was cancelled while it waited', async () => {
    const queue = new DecodeQueue(1);
    const leave = await queue.enter();
    const controller = new AbortController();
    const reserved: number[] = [];
    const limits = { maxPixels: 100, queue, reserve: (bytes: number) => reserved.push(bytes) };
    const cancelled = decodeImage(file, { ...limits, signal: controller.signal });
    const patient = decodeImage(file, limits);
    while (queue.waiting < 2) await new Promise((resolve) => setImmediate(resolve));
    controller.abort(new SaladError('CANCELLED', 'the client cancelled'));
    await assert.rejects(cancelled, { reason: 'CANCELLED' });
    assert.deepEqual(reserved, []);
    leave();
    assert.equal((await patient).samples.length, 16);
    assert.equal(reserved.length, 1);
  });

  it('releases its place where the file is damaged and where there is no memory', async () => {
    const queue = new DecodeQueue(1);
    await assert.rejects(decodeImage(file.subarray(0, -5), { maxPixels: 100, queue }), {
      reason: 'IMAGE_UNREADABLE',
    });
    const reserve = () => {
      throw new SaladError('OVERLOADED', 'no memory');
    };
    await assert.rejects(decodeImage(file, { maxPixels: 100, queue, reserve }), { reason: 'OVERLOADED' });
    assert.equal((await decodeImage(file, { maxPixels: 100, queue })).rows, 4);
  });
});
