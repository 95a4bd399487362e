import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { SaladClientError } from '../../../../clients/typescript/src/index.js';
import { createRetryNotes } from '../../../../src/cli/commands/retry-notes.js';

describe('notes about retries', () => {
  const written: string[] = [];
  const { write } = process.stderr;

  beforeEach(() => {
    written.length = 0;
    process.stderr.write = ((text: string) => written.push(text) > 0) as typeof write;
  });
  afterEach(() => {
    process.stderr.write = write;
  });

  it('come at the first retry, whatever its status, and every ten seconds', () => {
    let ms = Date.parse('2026-11-30T10:00:00');
    const onRetry = createRetryNotes(
      60_000,
      () => 'lost',
      () => ms,
    );
    const error = SaladClientError.local('CANCELLED', 'Call cancelled');
    for (const at of [0, 500, 9_999, 10_000, 15_000, 31_000]) {
      ms = Date.parse('2026-11-30T10:00:00') + at;
      onRetry({ error });
    }
    assert.deepEqual(written, [
      'salad: lost; retrying for 60 s, until 10:01:00\n',
      'salad: lost; still retrying, until 10:01:00\n',
      'salad: lost; still retrying, until 10:01:00\n',
    ]);
  });
});
