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

/** As the client sees what the server refuses. */
const remote = (error: SaladServerError) => new SaladClientError(toServiceError(error, 0));

const failure = (status: StatusName) => SaladClientError.local(status, `is ${status}`);

/** Fails with each error in turn, then gives 42. */
function failing(...errors: readonly unknown[]) {
  const given: (number | undefined)[] = [];
  const attempt = async (timeoutMs: number | undefined) => {
    const error = errors[given.length];
    given.push(timeoutMs);
    if (error !== undefined) throw error;
    return 42;
  };
  return { attempt, given };
}

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
  it('tries again after a broken attempt and returns one result', async () => {
    const { attempt, given } = failing(failure('UNAVAILABLE'), failure('UNAVAILABLE'));
    const { waits, options } = recorded();
    const notices: RetryNotice[] = [];
    const result = await withRetry(attempt, options, { replayable: true, onRetry: (n) => notices.push(n) });
    assert.equal(result, 42);
    assert.equal(given.length, 3);
    assert.deepEqual(waits, [50, 100]);
    assert.deepEqual(
      notices.map((notice) => [notice.attempt, notice.delayMs, notice.error.status]),
      [
        [2, 50, 'UNAVAILABLE'],
        [3, 100, 'UNAVAILABLE'],
      ],
    );
  });

  it('throws what will not pass by itself at once', async () => {
    for (const error of [
      failure('INVALID_ARGUMENT'),
      failure('DEADLINE_EXCEEDED'),
      failure('RESOURCE_EXHAUSTED'),
      failure('INTERNAL'),
      failure('CANCELLED'),
      new Error('of the source'),
    ]) {
      const { attempt, given } = failing(error);
      const { options } = recorded();
      await assert.rejects(withRetry(attempt, options, { replayable: true }), error);
      assert.equal(given.length, 1);
    }
  });

  it('tries once more after a pause that the server took for the end of the client', async () => {
    const timeout = () => remote(new SaladServerError('IDLE_TIMEOUT', 'nothing came'));
    const once = failing(timeout());
    assert.equal(await withRetry(once.attempt, recorded().options, { replayable: true }), 42);
    const [first, second] = [timeout(), timeout()];
    const twice = failing(first, failure('UNAVAILABLE'), second);
    await assert.rejects(withRetry(twice.attempt, recorded().options, { replayable: true }), second);
    assert.equal(twice.given.length, 3);
  });

  it('makes one attempt where the source cannot be replayed, or where retries are off', async () => {
    const error = failure('UNAVAILABLE');
    for (const [options, replayable] of [
      [recorded().options, false],
      [false, true],
    ] as const) {
      const { attempt, given } = failing(error);
      await assert.rejects(withRetry(attempt, options, { replayable }), error);
      assert.equal(given.length, 1);
    }
  });

  it('gives up after maxAttempts with the last error', async () => {
    const errors = Array.from({ length: 9 }, () => failure('UNAVAILABLE'));
    const { attempt, given } = failing(...errors);
    const options = { ...recorded().options, maxAttempts: 3 };
    await assert.rejects(withRetry(attempt, options, { replayable: true }), errors[2]);
    assert.equal(given.length, 3);
  });

  it('does not start a wait that ends after the deadline', async () => {
    const error = failure('UNAVAILABLE');
    const { attempt, given } = failing(error);
    const { waits, options } = recorded();
    const slow = { ...options, initialBackoffMs: 60_000, maxBackoffMs: 60_000 };
    await assert.rejects(withRetry(attempt, slow, { replayable: true, timeoutMs: 20_000 }), error);
    assert.equal(given.length, 1);
    assert.deepEqual(waits, []);
  });

  it('gives every attempt what is left of the deadline', async () => {
    const { attempt, given } = failing(failure('UNAVAILABLE'));
    const sleep = () => new Promise<void>((resolve) => setTimeout(resolve, 30));
    await withRetry(attempt, { sleep, random: () => 0 }, { replayable: true, timeoutMs: 10_000 });
    assert.ok((given[0] ?? 0) > 9900 && (given[1] ?? 0) <= (given[0] ?? 0) - 25, String(given));
  });

  it('stops waiting when the caller aborts', async () => {
    const { attempt, given } = failing(failure('UNAVAILABLE'));
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
    assert.equal(given.length, 1);
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
  it('knows a reset that grpc-js did not put down to the connection', () => {
    assert.ok(
      isBroken(SaladClientError.local('INTERNAL', 'Received RST_STREAM with code 2 (Internal server error)')),
    );
    assert.ok(isBroken(SaladClientError.local('CANCELLED', 'Call cancelled')));
    assert.ok(!isBroken(SaladClientError.local('CANCELLED', 'Cancelled on client')));
    assert.ok(!isBroken(new Error('Received RST_STREAM')));
  });
});
