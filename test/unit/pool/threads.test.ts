import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { WorkerSetup } from '../../../src/pool/messages.js';
import { Threads, workerEntry } from '../../../src/pool/threads.js';

describe('worker threads', () => {
  it('are ENGINE_UNAVAILABLE, and not an exception nobody can catch, where the system gives none', async () => {
    // What cannot be given to a thread keeps it from starting, as a limit on threads does.
    const setup = { models: [], slots: [], search: {}, engineOptions: { sessionThreads: () => 1 } };
    const threads = new Threads(setup as unknown as WorkerSetup, {
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
