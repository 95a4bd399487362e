/** Models whose z needs the whole image: scores smoothed over the grid, tables of two views, less weight at the edge. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { type Bundle, readBundle, writeBundle } from '../../src/bundle/bundle.js';
import { createEngine } from '../../src/engines/selection/select.js';
import type { AnomalyScoringClient } from '../../src/gen/salad/v1/anomaly_scoring.js';
import { Decision, WarningKind } from '../../src/gen/salad/v1/types.js';
import { ALIGNMENT_SIZE } from '../../src/imaging/alignment/alignment-pyramid.js';
import { regionMeans } from '../../src/scoring/plausibility.js';
import type { RunningServer } from '../../src/server/server.js';
import { ImageScorer } from '../../src/training/data/image-scorer.js';
import { renderDecoded } from '../../src/training/data/render.js';
import { createRandom } from '../../src/util/random.js';
import { collect, connect, end, header, type Outcome, rows } from '../support/protocol/grpc-client.js';
import { type ModelsFolder, SIDE, smallModels, startSmall } from '../support/servers/small-server.js';

const GRID = 8;
const BLUR = 1;
const EDGE_PENALTY = 2;
const random = createRandom(21);
const table = (low: number, high: number) =>
  Array.from({ length: GRID * GRID }, () => low + (high - low) * random());
const secondView = {
  names: ['PA', 'AP'] as [string, string],
  weights: Array.from({ length: 16 }, () => 4 * random() - 2),
  bias: 0.3,
  patchMedian: table(0.3, 0.5),
  patchMad: table(0.02, 0.1),
};
const images = Array.from({ length: 6 }, (_, image) =>
  Uint8Array.from(
    { length: SIDE * SIDE },
    (_pixel, at) => 100 + 80 * Math.sin((at % SIDE) / (3 + image)) + 60 * random(),
  ),
);

async function send(client: AnomalyScoringClient, image: Uint8Array): Promise<Outcome> {
  const call = client.streamAcquisition();
  const outcome = collect(call);
  call.write({ payload: header({ options: { topPatches: GRID * GRID } }) });
  for (let row = 0; row < SIDE; row += 16) call.write({ payload: rows(image, SIDE, row, row + 16) });
  call.write({ payload: end() });
  call.end();
  return outcome;
}

/** z of every cell by the definitions, from the engine's scores and embeddings. */
function expectedZ({ manifest }: Bundle, scores: Float32Array, embeddings: Float32Array): number[] {
  const { patchMedian, patchMad } = manifest.calibration;
  const mean = secondView.weights.map((_, axis) => {
    const values = Array.from({ length: GRID * GRID }, (_cell, cell) => embeddings[cell * 16 + axis]!);
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  });
  const linear = mean.reduce((sum, value, axis) => sum + value * secondView.weights[axis]!, secondView.bias);
  const p = 1 / (1 + Math.exp(-linear));
  const inside = (at: number): number => Math.min(GRID - 1, Math.max(0, at));
  return Array.from({ length: GRID * GRID }, (_, cell) => {
    const [row, column] = [Math.floor(cell / GRID), cell % GRID];
    let [sum, total] = [0, 0];
    for (let y = -4; y <= 4; y++) {
      for (let x = -4; x <= 4; x++) {
        const weight = Math.exp(-(y * y + x * x) / 2);
        sum += weight * scores[inside(row + y) * GRID + inside(column + x)]!;
        total += weight;
      }
    }
    const median = (1 - p) * patchMedian[cell]! + p * secondView.patchMedian[cell]!;
    const spread = 1.4826 * ((1 - p) * patchMad[cell]! + p * secondView.patchMad[cell]!);
    const place = [row, column].map((at) => ((2 * at + 1) / GRID - 1) ** 2);
    return (sum / total - median) / spread - EDGE_PENALTY * (place[0]! + place[1]!);
  });
}

const contentOf = ({ weights, bank, golden }: Bundle) => ({ weights, bank, golden, modelCard: '#' });

describe('a model whose z needs the whole image', function () {
  this.timeout(60_000);
  let models: ModelsFolder;
  let bundle: Bundle;
  let server: RunningServer;
  let client: AnomalyScoringClient;

  before(async () => {
    const reference = Buffer.alloc(ALIGNMENT_SIZE ** 2, 128).toString('base64');
    const smoothing = { blur: BLUR, edgePenalty: EDGE_PENALTY, secondView };
    models = await smallModels({ alignment: { kind: 'affine', reference }, smoothing });
    bundle = await readBundle(join(models.path, 'small', '1'));
    server = await startSmall(models.path, { workers: 2, maxBatchSize: 4 });
    client = connect(server.address);
  });
  after(async () => {
    client.close();
    await server.stop(0);
    await models.remove();
  });

  it('computes z by its definition for every patch of every image of a batch', async () => {
    const outcomes = await Promise.all(images.map((image) => send(client, image)));
    const engine = await createEngine('onnx');
    const scorer = await ImageScorer.open(engine, bundle);
    for (const [index, { patches, aggregate }] of outcomes.entries()) {
      const decoded = { rows: SIDE, columns: SIDE, bitsAllocated: 8, bitsStored: 8, samples: images[index]! };
      const image = renderDecoded(decoded as Parameters<typeof renderDecoded>[0], bundle.manifest);
      const { scores, embeddings } = await scorer.run(image);
      const z = expectedZ(bundle, scores, embeddings);
      assert.equal(patches.size, GRID * GRID);
      for (const [cell, patch] of patches) {
        // The score stays what the engine measured.
        assert.ok(Math.abs(patch.score - scores[cell]!) <= 1e-6);
        assert.ok(Math.abs(patch.robustZ - z[cell]!) <= 1e-3, `${cell}: ${patch.robustZ} for ${z[cell]}`);
      }
      const highest = [...z].sort((a, b) => b - a).slice(0, Math.ceil(0.1 * GRID * GRID));
      const expected = highest.reduce((sum, value) => sum + value, 0) / highest.length;
      assert.ok(Math.abs(aggregate.imageScore - expected) <= 1e-3, `${aggregate.imageScore} for ${expected}`);
    }
    await scorer.dispose();
    await engine.dispose();
    const scores = new Set(outcomes.map(({ aggregate }) => aggregate.imageScore));
    assert.equal(scores.size, images.length);
  });

  it('makes no decision on an image of another kind, and reports the reason', async () => {
    const engine = await createEngine('onnx');
    const scorer = await ImageScorer.open(engine, bundle);
    const decoded = { rows: SIDE, columns: SIDE, bitsAllocated: 8, bitsStored: 8, samples: images[0]! };
    const known = renderDecoded(decoded as Parameters<typeof renderDecoded>[0], bundle.manifest);
    const { embeddings } = await scorer.run(known);
    await scorer.dispose();
    await engine.dispose();
    const mean = Float32Array.from(regionMeans(embeddings, GRID, 2));
    const size = mean.length;
    const tensors = {
      mean,
      scale: new Float32Array(size).fill(1000),
      components: Float32Array.from({ length: size }, (_, axis) => (axis === 0 ? 1 : 0)),
      variances: Float32Array.of(1),
      mirror: new Float32Array(size),
    };
    const limits = { regions: 2, within: 1, outside: 1, mirror: -0.75, noise: 1, mirrorOffset: 1 };
    for (const [mirrorOffset, message] of [
      [1, /differs from the kind of images/],
      [-1, /looks mirrored/],
    ] as const) {
      const gated = await smallModels({
        alignment: bundle.manifest.input.alignment,
        plausibility: { spec: { ...limits, mirrorOffset }, tensors },
      });
      const other = await startSmall(gated.path, { workers: 1 });
      const caller = connect(other.address);
      const [first, second] = [await send(caller, images[0]!), await send(caller, images[1]!)];
      const implausible = mirrorOffset < 0 ? first : second;
      assert.equal(implausible.aggregate.decision, Decision.DECISION_INDETERMINATE);
      const [warning] = implausible.aggregate.warnings;
      assert.equal(warning?.kind, WarningKind.WARNING_KIND_IMPLAUSIBLE);
      assert.match(warning!.message, message);
      assert.ok(Number.isFinite(implausible.aggregate.imageScore));
      if (mirrorOffset > 0) {
        assert.notEqual(first.aggregate.decision, Decision.DECISION_INDETERMINATE);
        assert.deepEqual(first.aggregate.warnings, []);
      }
      caller.close();
      await other.stop(0);
      await gated.remove();
    }
  });

  it('is refused where a tile does not cover the image, or a table has another size', async () => {
    const { bank: _bank, files: _files, schemaVersion: _schema, ...manifest } = bundle.manifest;
    const write = (change: Partial<typeof manifest>) =>
      writeBundle(join(models.path, 'other', '1'), {
        ...contentOf(bundle),
        manifest: { ...manifest, ...change },
      });
    const { calibration } = manifest;
    await assert.rejects(
      write({ calibration: { ...calibration, secondView: { ...secondView, patchMedian: [1] } } }),
      /calibration\.secondView\.patchMedian has 1 cells/,
    );
    await assert.rejects(
      write({ calibration: { ...calibration, secondView: { ...secondView, weights: [1] } } }),
      /calibration\.secondView\.weights has 1 numbers; an embedding has 16/,
    );
    const small = await smallModels({});
    const tiles = await readBundle(join(small.path, 'small', '1'));
    const { bank: _b, files: _f, schemaVersion: _s, ...tiled } = tiles.manifest;
    const draft = {
      ...contentOf(tiles),
      manifest: { ...tiled, scoring: { ...tiled.scoring, blur: 1 } },
    };
    await assert.rejects(writeBundle(join(small.path, 'other', '1'), draft), /scoring\.blur .*whole image/);
    await small.remove();
  });
});
