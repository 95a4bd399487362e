import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { loadConfig } from '../../../../src/config/load.js';
import { configOfProcess, partOf, processCount } from '../../../../src/server/processes/division.js';

describe('the division among server processes', () => {
  it('takes the number of processes that is set; auto: one for every four cores, at most eight', () => {
    assert.equal(processCount({ processes: 3, workers: 0 }, 1), 3);
    const auto = (workers: number, cores: number) => processCount({ processes: 'auto', workers }, cores);
    assert.deepEqual(
      [1, 2, 4, 7, 8, 16, 64].map((cores) => auto(0, cores)),
      [1, 1, 1, 1, 2, 4, 8],
    );
    // A pod with a limit of 4 or 8 cores on a node of 64: the chart sets `workers`.
    assert.deepEqual([auto(4, 64), auto(8, 64), auto(8, 2)], [1, 2, 2]);
  });

  it('gives parts that are the whole together, and never nothing', () => {
    const parts = (whole: number, count: number) =>
      Array.from({ length: count }, (_, index) => partOf(whole, index, count));
    assert.deepEqual(parts(10, 3), [4, 3, 3]);
    assert.deepEqual(parts(2, 4), [1, 1, 1, 1]);
  });

  it('keeps the limits of the server for all processes together', async () => {
    const config = await loadConfig({ flags: { workers: 5, processes: 2, metricsListen: '127.0.0.1:9464' } });
    const [one, other] = [0, 1].map((index) => configOfProcess(config, index, 2));
    for (const key of [
      'workers',
      'maxConnections',
      'maxConcurrentAcquisitions',
      'maxAcquisitionBytes',
      'maxReceivedBytes',
    ] as const) {
      assert.equal(one![key] + other![key], config[key], key);
    }
    const divided = ['workers', 'processes', 'metricsListen', 'healthListen'];
    for (const [key, value] of Object.entries(one!)) {
      if (!divided.includes(key) && !key.startsWith('max'))
        assert.equal(value, config[key as keyof typeof config]);
    }
    assert.deepEqual([one!.processes, one!.metricsListen], [1, '']);
    const byCores = configOfProcess({ ...config, workers: 0 }, 0, 2);
    assert.equal(byCores.workers, 0);
  });
});
