/** A server with a few small bundles on a loopback port, and what the engine alone gives for its image. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import type { Bundle } from '../../../src/bundle/bundle.js';
import { loadConfig } from '../../../src/config/load.js';
import { allocatePatchBatch } from '../../../src/engines/batch.js';
import { createEngine } from '../../../src/engines/selection/select.js';
import type { AnomalyScoringClient } from '../../../src/gen/salad/v1/anomaly_scoring.js';
import { Source } from '../../../src/gen/salad/v1/types.js';
import { tilesOfRows } from '../../../src/geometry/tile-index.js';
import { defaultPixelFormat } from '../../../src/imaging/pixel-format/pixel-format.js';
import { WorkingImage } from '../../../src/imaging/working-image/working-image.js';
import { type RunningServer, startServer } from '../../../src/server/server.js';
import { createRandom } from '../../../src/util/random.js';
import { workerEntry } from '../engines/faults.js';
import { writeSmallBundle } from '../engines/small-bundle.js';
import { connect, end, header, type Outcome, rows, tile } from '../protocol/grpc-client.js';

export function randomImage(seed: number, rowCount = 64, columns = 64): Uint8Array {
  const random = createRandom(seed);
  return Uint8Array.from({ length: rowCount * columns }, () => Math.floor(random() * 256));
}

export const TILE_SOURCE = { source: Source.SOURCE_TILES } as const;
export const allTiles = (image: Uint8Array) =>
  Array.from({ length: 16 }, (_, index) => tile(image, Math.floor(index / 4), index % 4));

/** Scores an image by the engine alone, without the server. */
export async function directScores(bundle: Bundle, image: Uint8Array): Promise<Map<number, number>> {
  const { geometry, manifest } = bundle;
  const working = new WorkingImage(geometry, manifest.input, defaultPixelFormat(64, 64, 8), 0, 'rows');
  working.pushRows(image);
  working.complete();
  const size = geometry.tilePixels;
  const pixels = new Uint8Array(16 * size);
  const positions = Int32Array.from({ length: 32 }, (_, i) =>
    i % 2 === 0 ? Math.floor(i / 8) : ((i - 1) / 2) % 4,
  );
  for (const index of tilesOfRows(geometry, 0, 4)) {
    working.cutTile(index, pixels.subarray(index * size, (index + 1) * size));
  }
  const engine = await createEngine('onnx');
  const model = await engine.load(bundle);
  const patches = allocatePatchBatch(16, model);
  await model.run({ count: 16, pixels, positions }, patches);
  const scores = new Map<number, number>();
  for (let index = 0; index < 64; index++) {
    const [at, within] = [Math.floor(index / 4), index % 4];
    const row = Math.floor(at / 4) * 2 + Math.floor(within / 2);
    scores.set(row * 8 + (at % 4) * 2 + (within % 2), patches.scores[index]!);
  }
  await model.dispose();
  await engine.dispose();
  return scores;
}

export function assertScores(
  outcome: Outcome,
  expected: ReadonlyMap<number, number>,
  tolerance = 1e-6,
): void {
  assert.equal(outcome.patches.size, expected.size);
  for (const [key, score] of expected) {
    const got = outcome.patches.get(key)?.score ?? Number.NaN;
    assert.ok(Math.abs(got - score) <= tolerance, `patch ${key}: ${got} is not ${score}`);
  }
}

/** The image of most tests, 64 x 64. */
export const image = randomImage(1);
/** A header may name this one where several models are there. */
export const v1 = { model: { name: 'small', version: 1 } };

/** All messages of an acquisition of whole rows. */
export const whole = (samples = image) => [header(), rows(samples, 64, 0, 64), end(crc32c(samples))];

export interface Serving {
  readonly bundle: Bundle;
  readonly server: RunningServer;
  readonly client: AnomalyScoringClient;
  /** Patch scores of `image`. */
  readonly expected: ReadonlyMap<number, number>;
  stop(): Promise<void>;
}

export async function startServing(): Promise<Serving> {
  const folder = await mkdtemp(join(tmpdir(), 'salad-serving-'));
  const bundle = await writeSmallBundle(folder);
  await writeSmallBundle(folder, { version: 2 });
  await writeSmallBundle(folder, { name: 'flat', minStd: 1 });
  await writeSmallBundle(folder, {
    name: 'stretched',
    intensity: { kind: 'percentile', low: 1, high: 99 },
  });
  const flags = {
    listen: '127.0.0.1:0',
    models: folder,
    engine: 'onnx',
    workers: 2,
    maxImagePixels: 1_000_000,
    maxMessageBytes: 1_000_000,
    idleTimeoutMs: 3000,
  };
  const server = await startServer(await loadConfig({ flags }), { workerEntry });
  const client = connect(server.address);
  return {
    bundle,
    server,
    client,
    expected: await directScores(bundle, image),
    async stop() {
      client.close();
      await server.stop(0);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
