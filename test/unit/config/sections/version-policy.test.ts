import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { parseVersionPolicy } from '../../../../src/config/sections/version-policy.js';

describe('modelVersions', () => {
  const listed = (...versions: number[]) => ({ kind: 'listed', versions: new Set(versions) });

  it('is a rule for all models, for the highest versions, or a list for some models', () => {
    assert.deepEqual(parseVersionPolicy('all')?.('any'), { kind: 'all' });
    assert.deepEqual(parseVersionPolicy('latest:2')?.('any'), { kind: 'latest', count: 2 });
    const policy = parseVersionPolicy(' latest:1, chest-adult@1 ,chest-adult@3');
    assert.deepEqual(policy?.('chest-adult'), listed(1, 3));
    assert.deepEqual(policy?.('phantom'), { kind: 'latest', count: 1 });
    const onlyListed = parseVersionPolicy('phantom@4');
    assert.deepEqual(onlyListed?.('phantom'), listed(4));
    assert.deepEqual(onlyListed?.('other'), { kind: 'all' });
  });

  for (const text of [
    '',
    'latest',
    'latest:0',
    'latest:-1',
    'phantom',
    'phantom@0',
    'all,latest:1',
    'a@1,,b@2',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseVersionPolicy(text), undefined));
  }
});
