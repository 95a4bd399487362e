import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { systemReason } from '../../../src/errors/index.js';

function reasonOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return systemReason(error);
  }
  return assert.fail('it did not fail');
}

describe('the reason of an error of the operating system', () => {
  it('has no code, call or path, and says what helps', () => {
    const folder = mkdtempSync(join(tmpdir(), 'salad-system-'));
    try {
      assert.equal(
        reasonOf(() => readFileSync(join(folder, 'x'))),
        'no such file or directory',
      );
      assert.equal(
        reasonOf(() => readFileSync(folder)),
        'it is a folder, not a file',
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
    // Tests may run as root, to whom nothing is denied.
    const denied = Object.assign(new Error("EACCES: permission denied, open '/x'"), { code: 'EACCES' });
    assert.match(systemReason(denied), /^permission denied: give this user the right to it/);
  });

  it('is the message of any other error', () => {
    assert.equal(systemReason(new Error('a: b, c')), 'a: b, c');
    assert.equal(systemReason('text'), 'text');
  });
});
