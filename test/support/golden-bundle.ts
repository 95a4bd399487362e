/** A bundle to prove an engine with: the one that is shipped, else a small random one. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readBundle } from '../../src/bundle/bundle.js';
import type { SelfTestBundle } from '../../src/engines/selection/select.js';
import { geometryOf } from '../../src/geometry/geometry.js';
import { smallDraft } from '../reference/small-model.js';

const MODELS = resolve(import.meta.dirname, '../../models');
/** Smallest first: software adapters are slow. */
const SHIPPED = ['phantom/1', 'chest-pediatric/1'];

function smallBundle(): SelfTestBundle {
  const { manifest, weights, bank, golden } = smallDraft(41);
  const geometry = geometryOf(manifest.input, manifest.tiling);
  const search = { bank, scoring: manifest.scoring };
  return { network: manifest.network, weights, geometry, search, golden, manifest };
}

/** With the first `tiles` of its golden batch only. */
export async function goldenBundle(tiles: number): Promise<SelfTestBundle> {
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
