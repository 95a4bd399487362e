import assert from 'node:assert/strict';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { type Bundle, readBundle } from '../../../../src/bundle/bundle.js';
import type { Engine } from '../../../../src/engines/engine.js';
import { createOnnxEngine } from '../../../../src/engines/onnx/onnx-engine.js';
import { createWasmEngine } from '../../../../src/engines/tfjs/wasm/wasm-engine.js';
import { geometryOf } from '../../../../src/geometry/geometry.js';
import { defaultPixelFormat } from '../../../../src/imaging/pixel-format/pixel-format.js';
import { WorkingImage } from '../../../../src/imaging/working-image/working-image.js';
import { makePhantom } from '../../../../src/phantom/phantom.js';
import { type ImagePatches, ImageScorer } from '../../../../src/training/data/image-scorer.js';
import { gaborStreamNetwork, STREAM_GABOR } from '../../../../src/training/encoders/gabor/stream-network.js';
import { shippedModels } from '../../../../src/util/package-root.js';

/** The shipped model with tiles of another width, on which no fitted value depends. */
async function scorerOf(bundle: Bundle, engine: Engine, coresPerTile: number) {
  const { manifest, weights, search } = bundle;
  const { network } = gaborStreamNetwork({ ...STREAM_GABOR, coresPerTile });
  const last = bundle.network.nodes.findIndex(({ name }) => name === network.output);
  const nodes = [...network.nodes, ...bundle.network.nodes.slice(last + 1)];
  const tiling = { ...manifest.tiling, coresPerTile };
  const geometry = geometryOf(manifest.input, tiling);
  const source = { network: { ...network, nodes, output: bundle.network.output }, weights, geometry, search };
  return { tiling, geometry, scorer: await ImageScorer.open(engine, source) };
}

type Shape = Awaited<ReturnType<typeof scorerOf>>;

function score(
  { manifest }: Bundle,
  { geometry, tiling, scorer }: Shape,
  seed: number,
): Promise<ImagePatches> {
  const { rows, columns, samples, window } = makePhantom({ seed, size: 300, lesion: 'consolidation' });
  const format = {
    ...defaultPixelFormat(rows, columns, 16, 12),
    voi: { kind: 'window', function: 'linear', ...window } as const,
  };
  const image = new WorkingImage(geometry, manifest.input, format, tiling.minStd, 'rows');
  image.pushRows(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength));
  image.complete();
  return scorer.run(image);
}

async function scores(bundle: Bundle, shapes: readonly Shape[], seed: number): Promise<ImagePatches[]> {
  const all: ImagePatches[] = [];
  for (const shape of shapes) all.push(await score(bundle, shape, seed));
  return all;
}

describe('tiles of different widths', () => {
  for (const [name, createEngine, runs] of [
    ['onnx', createOnnxEngine, 6],
    ['wasm', createWasmEngine, 1],
  ] as const) {
    it(`give the same scores and skip the same patches (${name})`, async () => {
      const bundle = await readBundle(join(shippedModels(), 'phantom', '1'));
      const engine = await createEngine();
      const shapes: Shape[] = [];
      for (const cores of [1, 2, 4, 8]) shapes.push(await scorerOf(bundle, engine, cores));
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 0, max: 1e6 }), async (seed) => {
          const [first, ...others] = await scores(bundle, shapes, seed);
          for (const other of others) {
            assert.deepEqual(other.scored, first!.scored);
            other.scores.forEach((value, patch) => {
              const expected = first!.scores[patch]!;
              assert.ok(
                Object.is(value, expected) || Math.abs(value - expected) < 1e-5,
                `${value}, ${expected}`,
              );
            });
          }
        }),
        { seed: 4, numRuns: runs },
      );
      for (const { scorer } of shapes) await scorer.dispose();
      await engine.dispose();
    }).timeout(60_000);
  }
});
