/** Images that are aligned in the worker, with the tile they are: the same as where everything is done in one place. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import sharp from 'sharp';
import { type Bundle, readBundle } from '../../src/bundle/bundle.js';
import { createEngine } from '../../src/engines/selection/select.js';
import type { AnomalyScoringClient } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { AnomalyMapFormat, WarningKind } from '../../src/gen/salad/v1/types.js';
import { patchStart } from '../../src/geometry/geometry.js';
import { ALIGNMENT_SIZE, shrink } from '../../src/imaging/alignment/alignment-pyramid.js';
import { anomalyMap, PatchField } from '../../src/imaging/map/anomaly-map.js';
import { colourScaleOf } from '../../src/imaging/map/colour-scale.js';
import { overlaySteps, rgbPng } from '../../src/imaging/map/overlay.js';
import { makePhantom } from '../../src/phantom/phantom.js';
import { aggregateImage } from '../../src/scoring/calibration.js';
import type { RunningServer } from '../../src/server/server.js';
import { ImageScorer } from '../../src/training/data/image-scorer.js';
import { renderDecoded } from '../../src/training/data/render.js';
import { inTurns } from '../../src/util/turns.js';
import { injectFault, workerEntry } from '../support/engines/faults.js';
import { collect, connect, end, header, type Outcome, rows } from '../support/protocol/grpc-client.js';
import { type ModelsFolder, SIDE, smallModels, startSmall } from '../support/servers/small-server.js';

const phantom = makePhantom({ seed: 5, size: SIDE });
const brightest = phantom.samples.reduce((a, b) => Math.max(a, b), 0);
const still = Uint8Array.from(phantom.samples, (value) => (value * 255) / brightest);
const reference = Uint8Array.from(shrink(still, SIDE, ALIGNMENT_SIZE), Math.round);
/** Moved to the right by 1 to 8 pixels; the border is repeated. */
const images = Array.from({ length: 8 }, (_, by) =>
  still.map((_value, at) => still[at - Math.min(by + 1, at % SIDE)]!),
);

async function send(client: AnomalyScoringClient, image: Uint8Array): Promise<Outcome> {
  const call = client.streamAcquisition();
  const outcome = collect(call);
  const options = { anomalyMap: AnomalyMapFormat.ANOMALY_MAP_FORMAT_PNG_OVERLAY, topPatches: 3 };
  call.write({ payload: header({ options }) });
  for (let row = 0; row < SIDE; row += 16) call.write({ payload: rows(image, SIDE, row, row + 16) });
  call.write({ payload: end() });
  call.end();
  return outcome;
}

const colours = (png: Uint8Array): Promise<Buffer> => sharp(png).raw().toBuffer();

describe('images aligned in the worker', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let bundle: Bundle;
  let server: RunningServer;
  let client: AnomalyScoringClient;

  before(async () => {
    const alignment = { kind: 'affine', reference: Buffer.from(reference).toString('base64') } as const;
    models = await smallModels({ alignment });
    bundle = await readBundle(join(models.path, 'small', '1'));
  });
  after(() => models.remove());
  beforeEach(async () => {
    server = await startSmall(models.path, { workers: 2, maxBatchSize: 4 }, { workerEntry });
    client = connect(server.address);
  });
  afterEach(async () => {
    client.close();
    await server.stop(0);
  });

  /** As `salad evaluate` does it: alignment where the image is rendered. */
  async function assertEvaluated(outcomes: readonly Outcome[]): Promise<void> {
    const engine = await createEngine('onnx');
    const scorer = await ImageScorer.open(engine, bundle);
    for (const [index, { patches, aggregate }] of outcomes.entries()) {
      const decoded = { rows: SIDE, columns: SIDE, bitsAllocated: 8, bitsStored: 8, samples: images[index]! };
      const image = renderDecoded(decoded as Parameters<typeof renderDecoded>[0], bundle.manifest);
      const { scores } = await scorer.run(image);
      assert.equal(patches.size, 64);
      for (const [patch, { score }] of patches) {
        assert.ok(Math.abs(score - scores[patch]!) <= 1e-6, `patch ${patch}: ${score}, ${scores[patch]}`);
      }
      const { patchZ } = aggregateImage({ scores, secondView: 0 }, bundle.manifest, bundle.geometry);
      const shape = { rows: SIDE, columns: SIDE };
      const field = new PatchField(bundle.geometry, patchZ, 0);
      const map = anomalyMap(field, image.workingToSource, shape, shape);
      const scale = colourScaleOf(aggregate.threshold, map);
      // Under the colours is the image as it was sent, not as it was aligned.
      const overlay = await rgbPng(await inTurns(overlaySteps(image.placedPixels, map, shape, scale)), shape);
      const [own, expected] = await Promise.all([aggregate.anomalyMap!.data, overlay].map(colours));
      assert.ok(
        own!.every((value, at) => Math.abs(value - expected![at]!) <= 2),
        'the overlay differs',
      );
      for (const { row, column, box } of aggregate.topPatches) {
        const [top, left] = [patchStart(bundle.geometry, row), patchStart(bundle.geometry, column)];
        const { patchSize } = bundle.geometry;
        assert.deepEqual(box, image.sourceBox(top, left, top + patchSize, left + patchSize));
      }
    }
    await scorer.dispose();
    await engine.dispose();
  }

  it('have the scores and the boxes of an evaluation, many at a time', async () => {
    const outcomes = await Promise.all(images.map((image) => send(client, image)));
    await assertEvaluated(outcomes);
    const boxes = outcomes.map(({ aggregate }) => JSON.stringify(aggregate.topPatches.map(({ box }) => box)));
    assert.ok(new Set(boxes).size > 1, 'every image was left as it lies');
  });

  it('are inverted where they are negatives, with a warning', async () => {
    const [image] = images as [Uint8Array];
    const [positive, negative] = [
      await send(client, image),
      await send(
        client,
        image.map((value) => 255 - value),
      ),
    ];
    const kinds = ({ aggregate }: Outcome) => aggregate.warnings.map(({ kind }) => kind);
    assert.deepEqual([kinds(positive), kinds(negative)], [[], [WarningKind.WARNING_KIND_INVERTED]]);
    assert.equal(positive.patches.size, negative.patches.size);
    for (const [patch, { score }] of positive.patches) {
      const other = negative.patches.get(patch)!.score;
      // A grey level or two are rounded to the other side.
      assert.ok(Math.abs(score - other) <= 1e-4, `patch ${patch}: ${score}, ${other}`);
    }
  });

  it('are reported where the alignment ends at its limit', async () => {
    const far = still.map((_value, at) => still[at - Math.min(SIDE / 2, at % SIDE)]!);
    const { aggregate } = await send(client, far);
    assert.deepEqual(
      aggregate.warnings.map(({ kind }) => kind),
      [WarningKind.WARNING_KIND_ALIGNMENT_BOUND],
    );
  });

  it('are aligned once where their batch fails and is tried again', async () => {
    injectFault('throw');
    await assertEvaluated(await Promise.all(images.map((image) => send(client, image))));
  });

  it('lose nothing with the worker that aligns them', async () => {
    injectFault('exit');
    await assertEvaluated(await Promise.all(images.map((image) => send(client, image))));
  });
});
