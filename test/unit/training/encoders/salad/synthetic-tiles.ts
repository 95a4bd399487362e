/** Small synthetic training tiles, textures with noise, with which a run takes seconds. */
import type { SaladConfig } from '../../../../../src/training/encoders/salad/config.js';
import { randomStream } from '../../../../../src/training/encoders/salad/random-streams.js';
import type { TileSource } from '../../../../../src/training/encoders/salad/tiles.js';

/**
 * A grating of random contrast, frequency and phase with noise, u8 [size, size]. Kinds 0..2 are normal: 0, 60 or 120
 * degrees; kind 3 is abnormal: a direction half-way between two of those.
 */
export function texture(kind: number, size: number, seed: number): Uint8Array {
  const random = randomStream(seed, 1234);
  const phase = random.between(0, 2 * Math.PI);
  const contrast = random.between(40, 60);
  const frequency = random.between(0.6, 1.2);
  const third = kind === 3 ? random.integer(3) + 0.5 : kind;
  const angle = (third * Math.PI) / 3;
  return Uint8Array.from({ length: size * size }, (_, i) => {
    const [x, y] = [i % size, Math.floor(i / size)];
    const wave = Math.sin((x * Math.cos(angle) + y * Math.sin(angle)) * frequency + phase);
    return Math.min(255, Math.max(0, 127 + contrast * wave + 6 * random.normal()));
  });
}

/** `images` images of gridSide² tiles each; every image is its own patient. */
export function syntheticTiles(images: number, gridSide: number, size: number, seed: number): TileSource {
  const perImage = gridSide * gridSide;
  const count = images * perImage;
  const pixels = Array.from({ length: count }, (_, tile) => texture(tile % 3, size, seed * 100003 + tile));
  const imageOf = Int32Array.from({ length: count }, (_, tile) => Math.floor(tile / perImage));
  return {
    count,
    size,
    imageOf,
    patientOf: imageOf,
    cellOf: Int32Array.from({ length: count }, (_, tile) => tile % perImage),
    gridSide,
    overlapCells: 2,
    readTiles(indices) {
      const out = new Uint8Array(indices.length * size * size);
      indices.forEach((tile, i) => {
        out.set(pixels[tile]!, i * size * size);
      });
      return out;
    },
  };
}

/** A configuration with which a run takes seconds on wasm. */
export function tinyConfig(changes: Partial<SaladConfig> = {}): SaladConfig {
  return {
    level: 'tile',
    baseWidth: 2,
    embedding: 8,
    downs: 1,
    reduction: 2,
    channels: 1,
    tilesPerImage: null,
    rate: 0.5,
    epochsPerRound: 1,
    batchSize: 12,
    learningRate: 1e-3,
    learningRateSchedule: 'constant',
    weightDecay: 1e-6,
    temperature: 0.1,
    momentum: 0.5,
    neighbours: 3,
    contrastWeight: 0.25,
    reconstructionWeight: 1,
    reconstruction: 'l1',
    augment: { flip: 0, shift: 1, gain: 0.1, offset: 0.1, gamma: 0.1, blur: 0.2, noise: 0.05 },
    negatives: null,
    warmup: 'two-view',
    warmupEpochs: 1,
    initialMemory: 'embedded',
    selfMaskedEntropy: false,
    ...changes,
  };
}
