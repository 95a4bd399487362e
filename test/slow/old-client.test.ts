import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import type * as Client from '../../clients/typescript/src/index.js';
import type { RunningServer } from '../../src/server/server.js';
import { EARLIER_COMMIT, earlierFiles } from '../support/programs/earlier-commit.js';
import {
  type ModelsFolder,
  SIDE,
  smallHeader,
  smallImage,
  smallModels,
  smallRows,
  startSmall,
} from '../support/servers/small-server.js';

/** It must go on working with every later server. */
describe(`the client of ${EARLIER_COMMIT}`, () => {
  let folder: string;
  let models: ModelsFolder;
  let server: RunningServer | undefined;
  let old: typeof Client;
  let client: Client.SaladClient;

  before(async function () {
    folder = earlierFiles(this, 'old-client', 'clients/typescript/src', 'src/gen');
    old = await import(pathToFileURL(join(folder, 'clients/typescript/src/index.ts')).href);
    models = await smallModels();
    server = await startSmall(models.path);
    client = new old.SaladClient(server.address);
  });

  after(async () => {
    // The tests were skipped.
    if (server === undefined) return;
    client.close();
    await server.stop(0);
    await models.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  it('streams rows and gets the scores that the present client gets', async () => {
    const image = smallImage(11);
    const header = smallHeader('old-rows');
    const { SaladClient } = await import('../../clients/typescript/src/index.js');
    const present = new SaladClient(server!.address);
    try {
      const [before, now] = await Promise.all(
        [client, present].map((each) => aggregateOf(each.streamAcquisition(header, smallRows(image)))),
      );
      assert.ok(Number.isFinite(before?.imageScore));
      assert.equal(before?.imageScore, now?.imageScore);
      // The field `corners` was added after this client was made.
      assert.deepEqual(
        before?.topPatches,
        now?.topPatches.map(({ corners: _, ...patch }) => patch),
      );
      assert.equal(before?.decision, now?.decision);
    } finally {
      present.close();
    }
  });

  it('reads the maps by their rows and columns, in both formats', async () => {
    const { ANOMALY_MAP_FORMAT_FLOAT32: float32, ANOMALY_MAP_FORMAT_PNG_OVERLAY: png } = old.AnomalyMapFormat;
    for (const anomalyMap of [float32, png]) {
      const header = { ...smallHeader(`old-map-${anomalyMap}`), options: { anomalyMap } };
      const { anomalyMap: map } = await client.scoreImage(header, { raw: smallImage(11) });
      assert.deepEqual([map?.format, map?.rows, map?.columns], [anomalyMap, SIDE, SIDE]);
      if (anomalyMap === float32) assert.equal(map?.data.length, 4 * SIDE * SIDE);
      else {
        const { width, height, format } = await sharp(map?.data).metadata();
        assert.deepEqual([width, height, format], [SIDE, SIDE, 'png']);
      }
    }
  });

  it('scores a whole image', async () => {
    const aggregate = await client.scoreImage(smallHeader('old-image'), { raw: smallImage(11) });
    assert.ok(Number.isFinite(aggregate.imageScore));
    assert.equal(aggregate.coverage?.failed, 0);
  });

  it('lists models, and reads the reason of an error', async () => {
    const listed = await client.listModels();
    assert.deepEqual(
      listed.map(({ identity }) => identity?.name),
      ['small'],
    );
    const header = { ...smallHeader('old-missing'), model: { name: 'missing' } };
    await assert.rejects(aggregateOf(client.streamAcquisition(header, smallRows(smallImage(1)))), (error) => {
      assert.ok(error instanceof old.SaladClientError);
      assert.equal(error.reason, 'MODEL_NOT_FOUND');
      return true;
    });
  });
});

async function aggregateOf(events: AsyncIterable<Client.AcquisitionEvent>) {
  for await (const event of events) if (event.type === 'aggregate') return event.aggregate;
  throw new Error('the stream ended without an aggregate');
}
