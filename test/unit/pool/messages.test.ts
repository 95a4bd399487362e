import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SaladError } from '../../../src/errors/index.js';
import { EngineLoss, errorFrom, failureFrom } from '../../../src/pool/messages.js';

const transferred = (thrown: unknown, engineLost = false) =>
  errorFrom(structuredClone(failureFrom(thrown, engineLost)));

describe('a failure of an engine worker', () => {
  it('is ENGINE_FAILED with the error of the engine as its cause', () => {
    const thrown = new RangeError('out of memory');
    const { reason, message, cause } = transferred(thrown);
    assert.deepEqual([reason, message], ['ENGINE_FAILED', 'out of memory']);
    assert.equal((cause as Error).stack, thrown.stack);
  });

  it('keeps the reason of a SaladError and the stack of the worker', () => {
    const thrown = new SaladError('BUNDLE_INVALID', 'no weights', { cause: new Error('why') });
    const received = transferred(thrown);
    assert.deepEqual(
      [received.reason, received.message, received.stack],
      ['BUNDLE_INVALID', 'no weights', thrown.stack],
    );
    assert.equal((received.cause as Error).message, 'why');
  });

  it('is an EngineLoss, with the thrown error as its cause, where the engine is lost', () => {
    const received = transferred(new Error('the device is lost'), true);
    assert.ok(received instanceof EngineLoss);
    assert.deepEqual(
      [received.loss, received.reason, received.message],
      ['failed', 'ENGINE_FAILED', 'the device is lost'],
    );
    assert.equal(((received.cause as Error).cause as Error).message, 'the device is lost');
  });
});
