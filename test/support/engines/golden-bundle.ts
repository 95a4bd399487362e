/** A bundle for the golden check of an engine: a shipped one, else a small random one. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readBundle } from '../../../src/bundle/bundle.js';
import type { GoldenCheckBundle } from '../../../src/engines/selection/golden-check.js';
import { geometryOf } from '../../../src/geometry/geometry.js';
import { smallDraft } from '../../reference/small-model.js';

const MODELS = resolve(import.meta.dirname, '../../../models');
/** Smallest model first, because software adapters are slow. */
const SHIPPED = ['phantom/1', 'chest-pediatric/1'];

function smallBundle(): GoldenCheckBundle {
  const { manifest, weights, bank, golden } = smallDraft(41);
  const geometry = geometryOf(manifest.input, manifest.tiling);
  const search = { bank, scoring: manifest.scoring };
  return { network: manifest.network, weights, geometry, search, golden, manifest };
}

/** @param tiles the golden batch is cut to its first tiles */
export async function goldenBundle(tiles: number): Promise<GoldenCheckBundle> {
  const directory = SHIPPED.map((name) => join(MODELS, name)).find((path) =>
    existsSync(join(path, 'manifest.json')),
  );
  const bundle = directory === undefined ? smallBundle() : await readBundle(directory);
  const count = Math.min(tiles, bundle.golden.positions.length / 2);
  const perTile = (values: { readonly length: number }) =>
    (values.length / (bundle.golden.positions.length / 2)) * count;
  const { pixels, positions, scores } = bundle.golden;
  const golden = {
    pixels: pixels.slice(0, perTile(pixels)),
    positions: positions.slice(0, 2 * count),
    scores: scores.slice(0, perTile(scores)),
  };
  return { ...bundle, golden };
}
