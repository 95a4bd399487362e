import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { failureOf } from '../../../../clients/modality/src/scoring/failure.js';
import { SaladClientError } from '../../../../clients/typescript/src/errors.js';
import { SaladError } from '../../../../src/errors/index.js';

describe('a failure to score', () => {
  it('is of the file only where another attempt cannot help', () => {
    const scopeOf = (reason: SaladError['reason']) => failureOf(new SaladError(reason, 'why')).scope;
    assert.equal(scopeOf('IMAGE_UNREADABLE'), 'instance');
    assert.equal(scopeOf('DICOM_UNSUPPORTED'), 'instance');
    // On a busy machine an intact image misses its deadline, too.
    assert.equal(scopeOf('DECODING_LIMIT_EXCEEDED'), 'attempt');
    assert.equal(scopeOf('DECODER_UNAVAILABLE'), 'attempt');
  });

  it('is of the server, and counts for no instance, where its status says nothing about the instance', () => {
    const statuses = [
      ...(['UNAVAILABLE', 'RESOURCE_EXHAUSTED', 'DEADLINE_EXCEEDED', 'CANCELLED', 'NOT_FOUND'] as const),
      ...(['UNAUTHENTICATED', 'PERMISSION_DENIED', 'FAILED_PRECONDITION', 'UNIMPLEMENTED'] as const),
    ];
    for (const status of statuses) {
      const failure = failureOf(SaladClientError.local(status, 'why'));
      assert.deepEqual(failure, { scope: 'server', reason: `${status}: why` });
    }
  });

  it('is of the attempt for every other status of a call', () => {
    for (const status of ['INVALID_ARGUMENT', 'INTERNAL', 'UNKNOWN', 'DATA_LOSS', 'ABORTED'] as const) {
      const failure = failureOf(SaladClientError.local(status, 'why'));
      assert.deepEqual(failure, { scope: 'attempt', reason: `${status}: why` });
    }
  });

  it('is of the file where the server names a reason that lies in it, whatever the status', () => {
    const error = Object.assign(SaladClientError.local('FAILED_PRECONDITION', 'why'), {
      reason: 'IMAGE_UNREADABLE',
    });
    assert.deepEqual(failureOf(error), { scope: 'instance', reason: 'IMAGE_UNREADABLE: why' });
  });

  it('names the code of an error of the operating system, and not its path', () => {
    const gone = Object.assign(new Error("ENOENT: no such file, open '/x'"), {
      code: 'ENOENT',
      syscall: 'open',
    });
    assert.deepEqual(failureOf(gone), { scope: 'attempt', reason: 'INTERNAL: ENOENT' });
  });
});
