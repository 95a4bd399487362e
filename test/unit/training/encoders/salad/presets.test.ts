import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { geometryOf } from '../../../../../src/geometry/geometry.js';
import { inputSchema, scoringSchema, tilingSchema } from '../../../../../src/geometry/specifications.js';
import { saladDecoder } from '../../../../../src/network/salad-networks.js';
import { inferShapes, trainableCount } from '../../../../../src/network/shapes.js';
import { lastRound } from '../../../../../src/training/encoders/salad/anchors.js';
import { parseSaladConfig } from '../../../../../src/training/encoders/salad/config.js';
import {
  freeEmbeddingName,
  SALAD_PRESET_NAMES,
  saladPreset,
} from '../../../../../src/training/encoders/salad/named-configurations.js';
import { encoderOf } from '../../../../../src/training/encoders/salad/trainable-network.js';

describe('SALAD presets', () => {
  for (const name of SALAD_PRESET_NAMES) {
    it(`${name} is a valid configuration whose encoder gives one embedding per patch`, () => {
      const { input, tiling, config, scoring } = saladPreset(name);
      inputSchema.parse(input);
      tilingSchema.parse(tiling);
      scoringSchema.parse(scoring);
      parseSaladConfig(config);
      const geometry = geometryOf(input, tiling);
      const network = encoderOf(config, geometry.tileHeight);
      const shape = inferShapes(network).get(network.output)!;
      assert.deepEqual(shape, {
        height: tiling.patchesPerSide,
        width: tiling.patchesPerSide,
        channels: config.embedding,
      });
    });
  }

  it("paper has the paper's network, schedule and scoring", () => {
    const { input, config, scoring, whiten } = saladPreset('paper');
    const encoder = encoderOf(config, input.workingSize);
    const { baseWidth, downs, embedding, channels } = config;
    const decoder = saladDecoder({ inputSize: input.workingSize, baseWidth, downs, embedding, channels });
    assert.equal(trainableCount(encoder), 22_157_424);
    assert.equal(trainableCount(encoder) + trainableCount(decoder), 32_429_120);
    assert.equal((lastRound(config.rate) + 1) * config.epochsPerRound, 550);
    assert.equal(whiten, false);
    // docs/explanation/salad-method.md, sections 1 to 6, value by value.
    assert.deepEqual(config, {
      level: 'image',
      baseWidth: 16,
      embedding: 200,
      downs: 6,
      reduction: 1,
      channels: 3,
      tilesPerImage: null,
      rate: 0.1,
      epochsPerRound: 50,
      batchSize: 32,
      learningRate: 1e-4,
      learningRateSchedule: 'constant',
      weightDecay: 1e-6,
      temperature: 0.1,
      momentum: 0.5,
      neighbours: 10,
      contrastWeight: 0.25,
      reconstructionWeight: 1,
      reconstruction: 'l1',
      augment: { flip: 0.5, shift: 0, gain: 0, offset: 0, gamma: 0, blur: 0, noise: 0 },
      negatives: null,
      warmup: 'memory',
      warmupEpochs: 0,
      initialMemory: 'random',
      selfMaskedEntropy: false,
    });
    // Section 7: the mean angle to the 100 nearest of all rows, one score per image.
    assert.deepEqual(scoring, {
      distance: 'angular',
      form: 'mean',
      neighbourCount: 100,
      temperature: 0.1,
      searchRadius: null,
      aggregate: { topFraction: 1, margin: 0 },
    });
  });

  it('salad is streamable: it scores tiles as soon as their rows have arrived', () => {
    assert.deepEqual(saladPreset('salad').input.intensity, { kind: 'window' });
    assert.equal(geometryOf(saladPreset('salad', 128).input, saladPreset('salad', 128).tiling).tileRows, 4);
  });

  it('can rename their output, so that layers with the output embedding can follow', () => {
    const { config, input } = saladPreset('salad-image');
    const network = freeEmbeddingName(encoderOf(config, input.workingSize));
    inferShapes(network);
    assert.equal(
      network.nodes.some((node) => node.name === 'embedding'),
      false,
    );
  });

  it('are refused for an unknown name or a working size that does not fit', () => {
    for (const [name, size] of [
      ['salade', undefined],
      ['salad', 100],
      ['paper', 200],
    ] as const) {
      assert.throws(() => saladPreset(name, size), { reason: 'CONFIGURATION_INVALID' });
    }
  });
});
