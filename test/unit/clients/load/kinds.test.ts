import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { createKindCycle } from '../../../../clients/load/src/kinds.js';
import { splitArrivals } from '../../../../clients/load/src/processes.js';
import { smallWorkload } from '../../../support/servers/load.js';

const kind = (weight?: number) => ({
  ...{ model: { name: 'small' }, workload: smallWorkload('rows') },
  ...(weight === undefined ? {} : { weight }),
});

describe('createKindCycle', () => {
  it('gives each kind its share, evenly spread', () => {
    const next = createKindCycle([kind(3), kind(1)]);
    const indices = Array.from({ length: 8 }, () => next().index);
    assert.deepEqual(indices, [0, 0, 1, 0, 0, 0, 1, 0]);
  });

  it('takes a weight of 1 by default, and refuses a load of nothing', () => {
    const next = createKindCycle([kind(), kind()]);
    assert.deepEqual([next().index, next().index, next().index], [0, 1, 0]);
    assert.throws(() => createKindCycle([]), /positive weight/);
    assert.throws(() => createKindCycle([kind(0)]), /positive weight/);
  });
});

describe('splitArrivals', () => {
  it('divides the streams, and starts no process without a stream', () => {
    const split = (count: number, processes: number) =>
      splitArrivals({ kind: 'streams', count, intervalMs: 0 }, processes).map((part) =>
        part.kind === 'streams' ? part.count : Number.NaN,
      );
    assert.deepEqual(split(8, 4), [2, 2, 2, 2]);
    assert.deepEqual(split(7, 3), [2, 2, 3]);
    assert.deepEqual(split(2, 4), [1, 1]);
  });

  it('divides the rate, with other random times in each part', () => {
    const parts = splitArrivals({ kind: 'poisson', ratePerSecond: 30, seed: 5 }, 3);
    assert.deepEqual(
      parts.map((part) => (part.kind === 'poisson' ? [part.ratePerSecond, part.seed] : [])),
      [
        [10, 5],
        [10, 6],
        [10, 7],
      ],
    );
  });
});
