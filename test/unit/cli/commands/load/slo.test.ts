import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type Measured, parseSlo, violatedSlos } from '../../../../../src/cli/commands/load/slo.js';
import { SaladError } from '../../../../../src/errors/index.js';

const latency = { count: 10, meanMs: 12, p50Ms: 10, p90Ms: 20, p99Ms: 49, p999Ms: 80, maxMs: 90 };
const result: Measured = {
  acquisitions: {
    ok: 10,
    failed: 1,
    refused: 2,
    retries: 0,
    refusals: latency,
    perSecond: 5,
    byStatus: { INTERNAL: 1, UNAVAILABLE: 2 },
    ...latency,
  },
  tiles: { perSecond: 640, ...latency },
  jain: null,
  batchFill: 0.9,
};

describe('parseSlo', () => {
  it('reads percentiles in ms and s', () => {
    const slos = ['tile.p99<50ms', 'tile.p99<0.04s', 'acquisition.p99.9<1s', 'tiles.perSecond>1000'].map(
      parseSlo,
    );
    assert.deepEqual(
      violatedSlos(slos, result).map((slo) => slo.text),
      ['tile.p99<0.04s', 'tiles.perSecond>1000'],
    );
  });

  it('reads counts of failures, and treats an objective without a measurement as violated', () => {
    const slos = ['failed<1', 'refused<3', 'jain>0.5'].map(parseSlo);
    assert.deepEqual(
      violatedSlos(slos, result).map((slo) => slo.text),
      ['failed<1', 'jain>0.5'],
    );
  });

  it('refuses an invalid expression', () => {
    const invalid = [
      'tile.p98<5ms',
      'speed>1',
      'tile.p99=5',
      '',
      'tile.p99<.',
      'tile.p99<1.2.3s',
      'failed<1s',
    ];
    for (const text of [...invalid, 'constructor<1', 'tile.toString<1']) {
      assert.throws(
        () => parseSlo(text),
        (error) => error instanceof SaladError && error.reason === 'CONFIGURATION_INVALID',
      );
    }
  });
});
