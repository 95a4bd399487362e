/** A small random bundle that behaves like a real one: several tiles, a halo, several patches in a tile. */
import { join } from 'node:path';
import { type Bundle, writeBundle } from '../../../src/bundle/bundle.js';
import type { Manifest } from '../../../src/bundle/manifest.js';
import { allocatePatchBatch } from '../../../src/engines/batch.js';
import { createEngine } from '../../../src/engines/selection/select.js';
import { geometryOf } from '../../../src/geometry/geometry.js';
import type { NetworkDescription } from '../../../src/network/description.js';
import { initialiseWeights } from '../../../src/network/initialise.js';
import { normaliseRows } from '../../../src/scoring/memory-bank.js';
import type { PlausibilityGate } from '../../../src/scoring/plausibility.js';
import { createRandom } from '../../../src/util/random.js';

export const SMALL = {
  workingSize: 64,
  coreSize: 16,
  haloSize: 4,
  patchesPerSide: 2,
  dimension: 16,
} as const;
const CELLS = (SMALL.workingSize / 8) ** 2;

export interface SmallBundleOptions {
  readonly name?: string;
  readonly version?: number;
  readonly intensity?: Manifest['input']['intensity'];
  readonly minStd?: number;
  /** @default 'stretch' */
  readonly fit?: Manifest['input']['fit'];
  /** Images are aligned to this reference. The whole image is then one tile; the patches are the same. */
  readonly alignment?: Manifest['input']['alignment'];
  /** How patch scores become z; needs `alignment`, which makes the whole image one tile. */
  readonly smoothing?: Pick<Manifest['scoring'], 'blur' | 'edgePenalty'> & {
    readonly secondView: Manifest['calibration']['secondView'];
  };
  /** Needs `alignment`, as `smoothing`. */
  readonly plausibility?: PlausibilityGate;
  /** Tiles are strips of this many cores. @default 1 */
  readonly coresPerTile?: number;
  /** Channels of the first convolution; more channels make batches slower. */
  readonly width?: number;
  /** Calibrated median of every cell. @default 0.3 */
  readonly patchMedian?: number;
  /** Outer rings of the patch grid that do not count for the image score. @default 0 */
  readonly margin?: number;
  /** Added to every golden score; where it is not 0, no engine reproduces them. @default 0 */
  readonly goldenError?: number;
}

function smallNetwork(width: number, coreSize: number, haloSize: number, cores: number): NetworkDescription {
  const conv = (name: string, input: string, inChannels: number, outChannels: number) =>
    ({
      op: 'conv',
      name,
      input,
      kernelSize: 3,
      stride: 1,
      padding: 1,
      inChannels,
      outChannels,
      bias: true,
      trainable: true,
    }) as const;
  return {
    inputSize: coreSize + 2 * haloSize,
    inputWidth: cores * coreSize + 2 * haloSize,
    output: 'embedding',
    nodes: [
      { op: 'affine', name: 'scaled', input: 'input', scale: 1 / 127.5, shift: -1 },
      conv('conv1', 'scaled', 1, width),
      { op: 'leakyRelu', name: 'relu1', input: 'conv1', alpha: 0.2 },
      conv('conv2', 'relu1', width, SMALL.dimension),
      { op: 'crop', name: 'core', input: 'conv2', offset: haloSize, size: coreSize, width: cores * coreSize },
      { op: 'avgPool', name: 'pooled', input: 'core', size: 8, stride: 8, padding: 0 },
      { op: 'l2Normalize', name: 'embedding', input: 'pooled' },
    ],
  };
}

/** Writes `<folder>/<name>/<version>/`. The onnx engine computes the golden scores. */
export async function writeSmallBundle(folder: string, options: SmallBundleOptions = {}): Promise<Bundle> {
  const { name = 'small', version = 1, minStd = 0, width = 8, alignment, coresPerTile = 1 } = options;
  const { patchMedian = 0.3, goldenError = 0 } = options;
  const { plausibility, margin = 0 } = options;
  const { fit = 'stretch', smoothing: { secondView, ...smoothing } = {} } = options;
  const { intensity = alignment ? { kind: 'percentile', low: 0, high: 100 } : { kind: 'window' } } = options;
  const { coreSize, haloSize, patchesPerSide } =
    alignment === undefined ? SMALL : { coreSize: SMALL.workingSize, haloSize: 0, patchesPerSide: 8 };
  const random = createRandom(7 * version);
  const network = smallNetwork(width, coreSize, haloSize, coresPerTile);
  const weights = initialiseWeights(network, 11);
  const rows = 40;
  const bank = {
    rows,
    dimension: SMALL.dimension,
    prototypes: normaliseRows(
      Float32Array.from({ length: rows * SMALL.dimension }, () => random() - 0.5),
      SMALL.dimension,
    ),
    positions: Int32Array.from({ length: rows * 2 }, () => Math.floor(random() * 8)),
    sources: Int32Array.from({ length: rows }, (_, row) => row % 3),
  };
  const input = {
    workingSize: SMALL.workingSize,
    fit,
    intensity,
    orientation: 'none',
    ...(alignment === undefined ? {} : { alignment }),
  } as const;
  const tiling = {
    coreSize,
    coresPerTile,
    haloSize,
    patchesPerSide,
    patchStride: 8,
    patchSize: 12,
    patchOffset: -2,
    minStd,
  };
  const scoring = {
    distance: 'angular',
    form: 'mean',
    neighbourCount: 3,
    temperature: 0.1,
    searchRadius: null,
    aggregate: { topFraction: 0.1, margin },
    ...smoothing,
  } as const;
  const geometry = geometryOf(input, tiling);
  const positions = Int32Array.from(
    alignment === undefined ? [0, 0, 1, 2 % (4 / coresPerTile)] : [0, 0, 0, 0],
  );
  const pixels = Uint8Array.from({ length: 2 * geometry.tilePixels }, () => Math.floor(random() * 256));
  const engine = await createEngine('onnx');
  const model = await engine.load({ network, weights, geometry, search: { bank, scoring } });
  const patches = allocatePatchBatch(2, model);
  await model.run({ count: 2, pixels, positions }, patches);
  await model.dispose();
  await engine.dispose();
  return writeBundle(join(folder, name, String(version)), {
    ...(plausibility ? { plausibility: plausibility.tensors } : {}),
    manifest: {
      name,
      version,
      description: 'A small random model for tests.',
      input,
      tiling,
      network,
      scoring,
      calibration: {
        patchMedian: new Array<number>(CELLS).fill(patchMedian),
        patchMad: new Array<number>(CELLS).fill(0.02),
        ...(secondView ? { secondView } : {}),
        patchZQuantiles: Array.from({ length: 101 }, (_, i) => (i - 50) / 10),
        imageScores: Array.from({ length: 99 }, (_, i) => i / 10),
      },
      ...(plausibility ? { plausibility: plausibility.spec } : {}),
      training: {
        preset: 'none',
        seed: 7,
        engine: 'onnx',
        saladServe: '0.1.0',
        command: 'test',
        images: { fit: 3, validation: 99 },
        dataSha256: '0'.repeat(64),
        sourceImages: ['a.png', 'b.png', 'c.png'],
        notes: [],
      },
      goldenTolerance: 1e-4,
    },
    weights,
    bank,
    golden: { pixels, positions, scores: patches.scores.map((score) => score + goldenError) },
    modelCard: '# small\n\nRandom weights.\n',
  });
}
