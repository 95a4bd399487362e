import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { failureOf } from '../../../../clients/modality/src/scoring/failure.js';
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

  it('names the code of an error of the operating system, and not its path', () => {
    const gone = Object.assign(new Error("ENOENT: no such file, open '/x'"), {
      code: 'ENOENT',
      syscall: 'open',
    });
    assert.deepEqual(failureOf(gone), { scope: 'attempt', reason: 'INTERNAL: ENOENT' });
  });
});
