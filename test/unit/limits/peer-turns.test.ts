import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { PeerTurns } from '../../../src/limits/peer-turns.js';

describe('PeerTurns', () => {
  it('serves peers in turn, and skips those that are not to be served', () => {
    const turns = new PeerTurns<number>();
    for (const work of [1, 2, 3]) turns.add('a', work);
    turns.add('b', 4);
    turns.add('c', 5);
    const take = (...skips: string[]) => turns.take(new Set(skips))?.work;
    assert.deepEqual([take(), take('b'), take('b', 'c'), take(), take('a')], [1, 5, 2, 4, undefined]);
    assert.deepEqual(
      [turns.count, turns.take(), turns.take(), turns.count],
      [1, { peer: 'a', work: 3 }, undefined, 0],
    );
  });

  it('loses and doubles nothing, and keeps the order of a peer, in any sequence', () => {
    const step = fc.option(fc.constantFrom('a', 'b', 'c'), { nil: undefined });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const turns = new PeerTurns<number>();
        const taken: { readonly peer: string; readonly work: number }[] = [];
        const added: typeof taken = [];
        steps.forEach((peer, work) => {
          if (peer === undefined) taken.push(...[turns.take()].filter((each) => each !== undefined));
          else {
            turns.add(peer, work);
            added.push({ peer, work });
          }
        });
        assert.equal(turns.count, added.length - taken.length);
        for (let next = turns.take(); next !== undefined; next = turns.take()) taken.push(next);
        for (const name of ['a', 'b', 'c']) {
          const of = (list: typeof taken) => list.filter(({ peer }) => peer === name);
          assert.deepEqual(of(taken), of(added));
        }
      }),
      { seed: 1 },
    );
  });
});
