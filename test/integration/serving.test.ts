import assert from 'node:assert/strict';
import { status } from '@grpc/grpc-js';
import { crc32c } from '@node-rs/crc32';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import type { Bundle } from '../../src/bundle/bundle.js';
import type { AnomalyScoringClient } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { AnomalyMapFormat, Decision, WarningKind } from '../../src/gen/salad/v1/types.js';
import type { RunningServer } from '../../src/server/server.js';
import { injectFault } from '../support/engines/faults.js';
import {
  collect,
  end,
  header,
  type Outcome,
  refusal,
  rows,
  stream,
  tiles,
} from '../support/protocol/grpc-client.js';
import {
  allTiles,
  assertScores,
  directScores,
  image,
  randomImage,
  type Serving,
  startServing,
  TILE_SOURCE,
  v1,
  whole,
} from '../support/servers/serving.js';

describe('serving through the port', function () {
  this.timeout(60_000);
  let serving: Serving;
  let bundle: Bundle;
  let server: RunningServer;
  let client: AnomalyScoringClient;
  let expected: ReadonlyMap<number, number>;

  before(async () => {
    serving = await startServing();
    ({ bundle, server, client, expected } = serving);
  });
  after(() => serving.stop());

  describe('right input', () => {
    it('scores rows, tiles in any order and whole images exactly as the engine alone does', async () => {
      const byRows = await stream(client, [
        header(v1),
        rows(image, 64, 0, 1),
        rows(image, 64, 1, 40),
        rows(image, 64, 40, 64),
        end(crc32c(image)),
      ]);
      const backwards = allTiles(image).reverse();
      const byTiles = await stream(client, [
        header({ ...v1, ...TILE_SOURCE }),
        tiles(backwards.slice(0, 5)),
        tiles(backwards.slice(5)),
        end(),
      ]);
      const raw = header(v1);
      assert.equal(raw.$case, 'header');
      const byRaw = await collect(
        client.scoreImage({ header: raw.value, image: { $case: 'raw', value: Buffer.from(image) } }),
      );
      const png = await sharp(image, { raw: { width: 64, height: 64, channels: 1 } })
        .png()
        .toBuffer();
      const byPng = await collect(
        client.scoreImage({ header: raw.value, image: { $case: 'encoded', value: png } }),
      );
      for (const outcome of [byRows, byTiles, byRaw, byPng]) {
        assertScores(outcome, expected);
        assert.equal(outcome.kinds[0], 'accepted');
        assert.equal(outcome.kinds.at(-1), 'aggregate');
        assert.equal(outcome.aggregate.coverage?.scored, 64);
        assert.equal(outcome.aggregate.imageScore, byRows.aggregate.imageScore);
        assert.deepEqual(outcome.aggregate.topPatches, byRows.aggregate.topPatches);
      }
    });

    it('sends patch scores before the last row is sent', async () => {
      const call = client.streamAcquisition();
      const outcome = collect(call);
      const firstScores = new Promise<void>((resolve) => {
        call.on('data', ({ payload }) => {
          if (payload?.$case === 'patchScores') resolve();
        });
      });
      call.write({ payload: header(v1) });
      call.write({ payload: rows(image, 64, 0, 24) });
      await firstScores;
      call.write({ payload: rows(image, 64, 24, 64) });
      call.write({ payload: end() });
      call.end();
      assertScores(await outcome, expected);
    });

    it('answers at `end`, though the client keeps its side of the stream open', async () => {
      const call = client.streamAcquisition();
      const outcome = collect(call);
      for (const payload of [header(v1), ...whole().slice(1)]) call.write({ payload });
      assertScores(await outcome, expected);
    });

    it('returns to each of 32 concurrent streams its own results', async () => {
      const images = Array.from({ length: 32 }, (_, seed) => randomImage(100 + seed));
      const alone: Outcome[] = [];
      for (const each of images.slice(0, 4)) alone.push(await stream(client, whole(each)));
      const together = await Promise.all(images.map((each) => stream(client, whole(each))));
      const scoresOf = (outcome: Outcome) =>
        new Map([...outcome.patches].map(([key, { score }]) => [key, score]));
      alone.forEach((outcome, index) => {
        assertScores(together[index]!, scoresOf(outcome));
      });
      const distinct = new Set(together.map(({ aggregate }) => aggregate.imageScore));
      assert.equal(distinct.size, 32);
    });

    it('uses the highest version unless one is requested', async () => {
      const latest = await stream(client, whole());
      assert.equal(latest.aggregate.model?.version, 2);
      const first = await stream(client, [header(v1), ...whole().slice(1)]);
      assert.equal(first.aggregate.model?.version, 1);
      assert.equal(first.aggregate.model?.bundleSha256, bundle.sha256);
    });

    it('sends embeddings, nearest prototypes and the float map only on request', async () => {
      const plain = await stream(client, whole());
      assert.equal(plain.patches.get(0)?.embedding.length, 0);
      assert.equal(plain.aggregate.anomalyMap, undefined);
      const options = {
        embeddings: true,
        nearestPrototypes: 2,
        anomalyMap: AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32,
        topPatches: 3,
      };
      const rich = await stream(client, [header({ ...v1, options }), ...whole().slice(1)]);
      const patch = rich.patches.get(9)!;
      assert.equal(patch.embedding.length, 16);
      assert.ok(Math.abs(patch.embedding.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-5);
      assert.equal(patch.nearestPrototypes.length, 2);
      const [near, next] = patch.nearestPrototypes;
      assert.ok(near!.distance <= next!.distance);
      assert.equal(near!.sourceImageId, ['a.png', 'b.png', 'c.png'][near!.index % 3]);
      const map = rich.aggregate.anomalyMap!;
      assert.deepEqual([map.rows, map.columns, map.data.length], [64, 64, 64 * 64 * 4]);
      assert.equal(rich.aggregate.topPatches.length, 3);
      const quiet = await stream(client, [header({ options: { patchScores: false } }), ...whole().slice(1)]);
      assert.deepEqual(quiet.kinds, ['accepted', 'aggregate']);
    });

    it('skips background, and calls an image of nothing else indeterminate', async () => {
      const flat = new Uint8Array(64 * 64).fill(90);
      const { aggregate } = await stream(client, [
        header({ model: { name: 'flat' } }),
        rows(flat, 64, 0, 64),
        end(),
      ]);
      assert.equal(aggregate.coverage?.skipped, 64);
      assert.equal(aggregate.decision, Decision.DECISION_INDETERMINATE);
      assert.ok(Number.isNaN(aggregate.imageScore));
      assert.ok(Number.isNaN(aggregate.pValue));
      assert.deepEqual(
        aggregate.warnings.map(({ kind }) => kind),
        [WarningKind.WARNING_KIND_NOTHING_SCORED],
      );
    });

    it('announces that a percentile model scores after the last pixel, and does so', async () => {
      const call = client.streamAcquisition();
      const accepted = new Promise<boolean>((resolve) => {
        call.on('data', ({ payload }) => {
          if (payload?.$case === 'accepted') resolve(payload.value.scoresBeforeLastPixel);
        });
      });
      const outcome = collect(call);
      call.write({ payload: header({ model: { name: 'stretched' } }) });
      assert.equal(await accepted, false);
      call.write({ payload: rows(image, 64, 0, 64) });
      call.write({ payload: end() });
      call.end();
      assert.equal((await outcome).patches.size, 64);
    });
  });
  describe('lifetimes', () => {
    const settled = async (condition: () => boolean) => {
      for (let tries = 0; tries < 300 && !condition(); tries++)
        await new Promise((next) => setTimeout(next, 10));
      assert.ok(condition());
    };

    it('releases the memory of a cancelled acquisition at once', async () => {
      const { budget } = server.registry;
      const call = client.streamAcquisition();
      call.on('error', () => {});
      const accepted = new Promise((resolve) => call.once('data', resolve));
      call.write({ payload: header() });
      await accepted;
      assert.equal(budget.open, 1);
      call.cancel();
      await settled(() => budget.open === 0 && budget.bytes === 0);
    });

    it('fails a client that falls silent', async () => {
      const call = client.streamAcquisition();
      const refused = refusal(collect(call));
      call.write({ payload: header() });
      const { code, reason } = await refused;
      assert.deepEqual([code, reason], [status.DEADLINE_EXCEEDED, 'IDLE_TIMEOUT']);
      await settled(() => server.registry.budget.open === 0);
    });

    it('loses no result when a worker ends during its work', async () => {
      const images = Array.from({ length: 24 }, (_, seed) => randomImage(500 + seed));
      const work = Promise.all(images.map((each) => stream(client, [header(v1), ...whole(each).slice(1)])));
      injectFault('exit');
      const outcomes = await work;
      for (const { aggregate } of outcomes) {
        assert.equal(aggregate.coverage?.scored, 64);
        assert.equal(aggregate.coverage?.failed, 0);
      }
      assertScores(outcomes[0]!, await directScores(bundle, images[0]!));
    });
  });
});
