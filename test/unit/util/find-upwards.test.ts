import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { findUpwards } from '../../../src/util/find-upwards.js';

describe('findUpwards', () => {
  it('takes the nearest folder, the start itself included', () => {
    const seen: string[] = [];
    const accept = (wanted: string) => (folder: string) => {
      seen.push(folder);
      return folder === wanted;
    };
    assert.equal(findUpwards('/a/b/c', accept('/a')), '/a');
    assert.deepEqual(seen, ['/a/b/c', '/a/b', '/a']);
    assert.equal(findUpwards('/a/b/c', accept('/a/b/c')), '/a/b/c');
  });

  it('ends at the root where no folder is accepted', () => {
    assert.equal(
      findUpwards('/a/b', () => false),
      undefined,
    );
  });
});
