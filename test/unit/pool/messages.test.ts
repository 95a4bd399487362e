import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SaladError } from '../../../src/errors/index.js';
import { EngineLoss, errorFrom, failureFrom } from '../../../src/pool/messages.js';

const crossed = (thrown: unknown, engineLost = false) =>
  errorFrom(structuredClone(failureFrom(thrown, engineLost)));

describe('a failure of an engine worker', () => {
  it('is ENGINE_FAILED with what the engine threw as its cause', () => {
    const thrown = new RangeError('out of memory');
    const { reason, message, cause } = crossed(thrown);
    assert.deepEqual([reason, message], ['ENGINE_FAILED', 'out of memory']);
    assert.equal((cause as Error).stack, thrown.stack);
  });

  it('keeps a reason of ours, and the stack of the worker', () => {
    const thrown = new SaladError('BUNDLE_INVALID', 'no weights', { cause: new Error('why') });
    const got = crossed(thrown);
    assert.deepEqual([got.reason, got.message, got.stack], ['BUNDLE_INVALID', 'no weights', thrown.stack]);
    assert.equal((got.cause as Error).message, 'why');
  });

  it('is the loss of the engine where that is gone, caused by what was thrown', () => {
    const got = crossed(new Error('the device is lost'), true);
    assert.ok(got instanceof EngineLoss);
    assert.deepEqual([got.loss, got.reason, got.message], ['failed', 'ENGINE_FAILED', 'the device is lost']);
    assert.equal(((got.cause as Error).cause as Error).message, 'the device is lost');
  });
});
