import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SaladError } from '../../../src/errors/index.js';
import { forEachImage } from '../../../src/oip/batch.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));
const signal = new AbortController().signal;

describe('forEachImage', () => {
  it('calls for every image, so many at a time', async () => {
    const done: number[] = [];
    let active = 0;
    let most = 0;
    await forEachImage(10, 3, signal, async (image) => {
      active += 1;
      most = Math.max(most, active);
      await turn();
      active -= 1;
      done.push(image);
    });
    assert.deepEqual(done, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.equal(most, 3);
  });

  it('tries an image again that was refused while others of the request held the room', async () => {
    let free = 2;
    const done = new Set<number>();
    let refusals = 0;
    await forEachImage(12, 6, signal, async (image) => {
      if (free === 0) {
        refusals += 1;
        throw new SaladError('OVERLOADED', 'no room');
      }
      free -= 1;
      await turn();
      free += 1;
      done.add(image);
    });
    assert.equal(done.size, 12);
    assert.ok(refusals > 0);
  });

  it('fails where an image is refused that is alone', async () => {
    const refused = forEachImage(5, 2, signal, async () => {
      throw new SaladError('OVERLOADED', 'no room');
    });
    await assert.rejects(refused, { reason: 'OVERLOADED' });
  });

  it('stops all others at the first error, and starts no more', async () => {
    const stopped: number[] = [];
    let started = 0;
    const failed = forEachImage(100, 4, signal, async (image, own) => {
      started += 1;
      if (image === 2) throw new SaladError('IMAGE_UNREADABLE', 'broken');
      await new Promise((resolve) => own.addEventListener('abort', resolve));
      stopped.push(image);
      own.throwIfAborted();
    });
    await assert.rejects(failed, { reason: 'IMAGE_UNREADABLE' });
    assert.deepEqual(stopped, [0, 1, 3]);
    assert.equal(started, 4);
  });

  it('ends with the reason of the signal, also where images wait for room', async () => {
    const controller = new AbortController();
    let started = 0;
    const ended = forEachImage(4, 4, controller.signal, async (image, own) => {
      started += 1;
      if (image > 0) throw new SaladError('OVERLOADED', 'no room');
      await new Promise((resolve) => own.addEventListener('abort', resolve));
      own.throwIfAborted();
    });
    await turn();
    controller.abort(new SaladError('CANCELLED', 'gone'));
    await assert.rejects(ended, { reason: 'CANCELLED' });
    assert.equal(started, 4);
    await assert.rejects(forEachImage(1, 1, controller.signal, turn as never), { reason: 'CANCELLED' });
  });
});
