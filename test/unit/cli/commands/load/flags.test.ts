import assert from 'node:assert/strict';
import { InvalidArgumentError } from 'commander';
import { describe, it } from 'mocha';
import { parseMix, parseRamp, parseShare, parseSweep } from '../../../../../src/cli/commands/load/flags.js';

describe('the flags of salad load', () => {
  it('reads a ramp with both ends, without the digits of floating point', () => {
    assert.deepEqual(parseRamp('10:50:20'), [10, 30, 50]);
    assert.deepEqual(parseRamp('0.1:0.35:0.1'), [0.1, 0.2, 0.3]);
    assert.deepEqual(parseRamp('5:5:1'), [5]);
  });

  it('reads a sweep, a share and a mixed load', () => {
    assert.deepEqual(parseSweep('1,2,8'), [1, 2, 8]);
    assert.deepEqual(parseShare('2/3'), { index: 2, count: 3 });
    const first = parseMix('chest-adult@2,priority=stat,weight=0.5,mode=rows');
    assert.deepEqual(parseMix('phantom', first), [
      { model: 'chest-adult@2', priority: 'stat', mode: 'rows', weight: 0.5 },
      { model: 'phantom', priority: 'routine', weight: 1 },
    ]);
  });

  for (const [parse, text] of [
    [parseRamp, '10:50'],
    [parseRamp, '50:10:5'],
    [parseRamp, '1:2:0'],
    [parseRamp, '1:100:0.01'],
    [parseSweep, '1,,2'],
    [parseSweep, '0'],
    [parseShare, '3/3'],
    [parseShare, '1'],
    [parseMix, ''],
    [parseMix, 'priority=stat'],
    [parseMix, 'phantom,priority=urgent'],
    [parseMix, 'phantom,weight=0'],
    [parseMix, 'phantom,color=red'],
  ] as const) {
    it(`refuses ${parse.name} "${text}"`, () => {
      assert.throws(() => parse(text), InvalidArgumentError);
    });
  }
});
