import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { SaladClientError, type StatusName } from '../../../../clients/typescript/src/errors.js';
import {
  backoffMs,
  isBroken,
  type RetryNotice,
  type RetryOptions,
  withRetry,
} from '../../../../clients/typescript/src/retry.js';
import { SaladError as SaladServerError } from '../../../../src/errors/index.js';
import { toServiceError } from '../../../../src/wire/status.js';

/** Converts an error of the server as the wire does. */
const received = (error: SaladServerError) => new SaladClientError(toServiceError(error, 0));

const failure = (status: StatusName) => SaladClientError.local(status, `is ${status}`);

/** An attempt that fails with each error in turn, then returns 42; `timeoutsMs` records the timeout of each attempt. */
function failing(...errors: readonly unknown[]) {
  const timeoutsMs: (number | undefined)[] = [];
  const attempt = async (timeoutMs: number | undefined) => {
    const error = errors[timeoutsMs.length];
    timeoutsMs.push(timeoutMs);
    if (error !== undefined) throw error;
    return 42;
  };
  return { attempt, timeoutsMs };
}

/** Retry options that record the waits instead of waiting. */
function recorded(random = 0.5) {
  const waits: number[] = [];
  const options: RetryOptions = {
    random: () => random,
    sleep: async (ms) => {
      waits.push(ms);
    },
  };
  return { waits, options };
}

describe('withRetry', () => {
  it('retries after a broken attempt and returns one result', async () => {
    const { attempt, timeoutsMs } = failing(failure('UNAVAILABLE'), failure('UNAVAILABLE'));
    const { waits, options } = recorded();
    const notices: RetryNotice[] = [];
    const result = await withRetry(attempt, options, { replayable: true, onRetry: (n) => notices.push(n) });
    assert.equal(result, 42);
    assert.equal(timeoutsMs.length, 3);
    assert.deepEqual(waits, [50, 100]);
    assert.deepEqual(
      notices.map((notice) => [notice.attempt, notice.delayMs, notice.error.status]),
      [
        [2, 50, 'UNAVAILABLE'],
        [3, 100, 'UNAVAILABLE'],
      ],
    );
  });

  it('throws a permanent error without a retry', async () => {
    for (const error of [
      failure('INVALID_ARGUMENT'),
      failure('DEADLINE_EXCEEDED'),
      failure('RESOURCE_EXHAUSTED'),
      failure('INTERNAL'),
      failure('CANCELLED'),
      new Error('of the source'),
    ]) {
      const { attempt, timeoutsMs } = failing(error);
      const { options } = recorded();
      await assert.rejects(withRetry(attempt, options, { replayable: true }), error);
      assert.equal(timeoutsMs.length, 1);
    }
  });

  it('retries once after an IDLE_TIMEOUT', async () => {
    const timeout = () => received(new SaladServerError('IDLE_TIMEOUT', 'nothing came'));
    const once = failing(timeout());
    assert.equal(await withRetry(once.attempt, recorded().options, { replayable: true }), 42);
    const [first, second] = [timeout(), timeout()];
    const twice = failing(first, failure('UNAVAILABLE'), second);
    await assert.rejects(withRetry(twice.attempt, recorded().options, { replayable: true }), second);
    assert.equal(twice.timeoutsMs.length, 3);
  });

  it('makes one attempt if the source cannot be replayed or retries are off', async () => {
    const error = failure('UNAVAILABLE');
    for (const [options, replayable] of [
      [recorded().options, false],
      [false, true],
    ] as const) {
      const { attempt, timeoutsMs } = failing(error);
      await assert.rejects(withRetry(attempt, options, { replayable }), error);
      assert.equal(timeoutsMs.length, 1);
    }
  });

  it('throws the last error after maxAttempts', async () => {
    const errors = Array.from({ length: 9 }, () => failure('UNAVAILABLE'));
    const { attempt, timeoutsMs } = failing(...errors);
    const options = { ...recorded().options, maxAttempts: 3 };
    await assert.rejects(withRetry(attempt, options, { replayable: true }), errors[2]);
    assert.equal(timeoutsMs.length, 3);
  });

  it('does not start a wait that ends after the deadline', async () => {
    const error = failure('UNAVAILABLE');
    const { attempt, timeoutsMs } = failing(error);
    const { waits, options } = recorded();
    const slow = { ...options, initialBackoffMs: 60_000, maxBackoffMs: 60_000 };
    await assert.rejects(withRetry(attempt, slow, { replayable: true, timeoutMs: 20_000 }), error);
    assert.equal(timeoutsMs.length, 1);
    assert.deepEqual(waits, []);
  });

  it('passes the remaining time of the deadline to every attempt', async () => {
    const { attempt, timeoutsMs } = failing(failure('UNAVAILABLE'));
    let now = 500;
    const sleep = async (ms: number) => {
      now += ms;
    };
    const context = { replayable: true, timeoutMs: 10_000, now: () => now };
    await withRetry(attempt, { sleep, random: () => 0.5 }, context);
    assert.deepEqual(timeoutsMs, [10_000, 9950]);
  });

  it('stops waiting when the caller aborts', async () => {
    const { attempt, timeoutsMs } = failing(failure('UNAVAILABLE'));
    const abort = new AbortController();
    const running = withRetry(
      attempt,
      { initialBackoffMs: 60_000, maxBackoffMs: 60_000, random: () => 1 },
      { replayable: true, signal: abort.signal, onRetry: () => setImmediate(() => abort.abort()) },
    );
    await assert.rejects(running, (error: unknown) => {
      assert.ok(error instanceof SaladClientError);
      return error.status === 'CANCELLED';
    });
    assert.equal(timeoutsMs.length, 1);
  });
});

describe('backoffMs', () => {
  it('is uniform below a step that doubles up to the maximum', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.double({ min: 0, max: 0.999999, noNaN: true }),
        (number, random) => {
          const ms = backoffMs(number, { initialBackoffMs: 10, maxBackoffMs: 1000, random: () => random });
          assert.ok(Math.abs(ms - random * Math.min(1000, 10 * 2 ** (number - 1))) < 1e-9);
        },
      ),
    );
  });
});

describe('isBroken', () => {
  it('recognises a stream reset that grpc-js reports with another status than UNAVAILABLE', () => {
    assert.ok(
      isBroken(SaladClientError.local('INTERNAL', 'Received RST_STREAM with code 2 (Internal server error)')),
    );
    assert.ok(isBroken(SaladClientError.local('CANCELLED', 'Call cancelled')));
    assert.ok(!isBroken(SaladClientError.local('CANCELLED', 'Cancelled on client')));
    assert.ok(!isBroken(new Error('Received RST_STREAM')));
  });
});
