import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import type { LoadReport } from '../../src/cli/commands/load/report.js';
import type { RunningServer } from '../../src/server/server.js';
import { salad } from '../support/programs/salad.js';
import { type ModelsFolder, SIDE, smallModels, startSmall } from '../support/servers/small-server.js';

describe('salad load --processes', function () {
  this.timeout(120_000);
  let models: ModelsFolder;
  let server: RunningServer;

  before(async () => {
    models = await smallModels();
    server = await startSmall(models.path);
  });
  after(async () => {
    await server.stop(0);
    await models.remove();
  });

  it('divides the streams among processes, and merges their figures', async () => {
    const list = join(models.path, 'requests.jsonl');
    const run = await salad(
      ...['load', '--target', server.address, '--size', String(SIDE), '--streams', '5', '--json'],
      ...['--processes', '2', '--duration', '1', '--warm-up', '0', '--slo', 'failed<1'],
      ...['--jsonl', list],
    );
    assert.equal(run.code, 0, run.stderr);
    const report = run.lines[0] as unknown as LoadReport;
    assert.equal(report.generator.processes, 2);
    assert.equal(report.tilesPerStream?.length, 5);
    const ids = readFileSync(list, 'utf8').matchAll(/"id":"load-(\d+)-\d+"/g);
    assert.equal(new Set([...ids].map(([, pid]) => pid)).size, 2);
    assert.equal(report.acquisitions.count, report.acquisitions.ok);
  });
});
