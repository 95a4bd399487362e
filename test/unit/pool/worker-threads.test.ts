import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { WorkerSetup } from '../../../src/pool/messages.js';
import { WorkerThreads, workerEntry } from '../../../src/pool/worker-threads.js';

describe('worker threads', () => {
  it('are ENGINE_UNAVAILABLE, which can be caught, where the system starts no thread', async () => {
    // Data that cannot be cloned makes the start fail, as a limit on threads does.
    const setup = { models: [], slots: [], search: {}, engineOptions: { sessionThreads: () => 1 } };
    const threads = new WorkerThreads(setup as unknown as WorkerSetup, {
      entry: workerEntry(),
      onError: assert.ifError,
    });
    assert.throws(() => threads.growTo(2), {
      reason: 'ENGINE_UNAVAILABLE',
      message: /^worker thread 1 of 2 does not start: .*could not be cloned/,
    });
    await threads.destroy();
  });
});
