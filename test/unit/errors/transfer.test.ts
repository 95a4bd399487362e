import assert from 'node:assert/strict';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { describe, it } from 'mocha';
import { SaladError } from '../../../src/errors/index.js';
import { type ErrorData, fromErrorData, toErrorData } from '../../../src/errors/transfer.js';

/** The error after a message to another thread. */
function transferred(thrown: unknown): Error {
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(toErrorData(thrown));
  const { message } = receiveMessageOnPort(port2) as { message: ErrorData };
  port1.close();
  return fromErrorData(message);
}

describe('an error that crosses a thread', () => {
  it('keeps class, reason, field violations, retry delay, stack and causes', () => {
    const system = Object.assign(new Error('no such file'), { code: 'ENOENT' });
    const engine = new TypeError('the device said no', { cause: system });
    const fieldViolations = [{ field: 'header.image.rows', description: 'too many' }];
    const sent = new SaladError('OVERLOADED', 'no room', {
      cause: engine,
      fieldViolations,
      retryAfterMs: 250,
    });
    const received = transferred(sent);
    assert.ok(received instanceof SaladError);
    assert.deepEqual(
      [received.reason, received.kind, received.message, received.fieldViolations, received.retryAfterMs],
      ['OVERLOADED', 'resourceExhausted', 'no room', fieldViolations, 250],
    );
    assert.equal(received.stack, sent.stack);
    const cause = received.cause as Error;
    assert.deepEqual(
      [cause.name, cause.message, cause.stack],
      ['TypeError', 'the device said no', engine.stack],
    );
    const root = cause.cause as NodeJS.ErrnoException;
    assert.deepEqual([root.name, root.message, root.code], ['Error', 'no such file', 'ENOENT']);
  });

  it('keeps the text of other thrown values, and cuts circular causes', () => {
    assert.equal(transferred('a word').message, 'a word');
    const circular = new Error('round');
    circular.cause = circular;
    let depth = 0;
    for (let error: unknown = transferred(circular); error instanceof Error; error = error.cause) depth += 1;
    assert.ok(depth > 1 && depth < 20, `${depth}`);
  });

  it('is INTERNAL where this version does not have its reason', () => {
    const data = { ...toErrorData(new SaladError('CANCELLED', 'm')), reason: 'OF_TOMORROW' } as unknown;
    assert.equal((fromErrorData(data as ErrorData) as SaladError).reason, 'INTERNAL');
  });
});
