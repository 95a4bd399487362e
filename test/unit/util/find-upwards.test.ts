import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { findUpwards } from '../../../src/util/find-upwards.js';

describe('findUpwards', () => {
  it('finds the nearest folder, which may be the start itself', () => {
    const seen: string[] = [];
    const matches = (target: string) => (folder: string) => {
      seen.push(folder);
      return folder === target;
    };
    assert.equal(findUpwards('/a/b/c', matches('/a')), '/a');
    assert.deepEqual(seen, ['/a/b/c', '/a/b', '/a']);
    assert.equal(findUpwards('/a/b/c', matches('/a/b/c')), '/a/b/c');
  });

  it('is undefined where no folder matches', () => {
    assert.equal(
      findUpwards('/a/b', () => false),
      undefined,
    );
  });
});
