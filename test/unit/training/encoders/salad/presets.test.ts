import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { convolutionMacs } from '../../../../../bench/support/macs.js';
import { geometryOf } from '../../../../../src/geometry/geometry.js';
import { inputSchema, scoringSchema, tilingSchema } from '../../../../../src/geometry/specifications.js';
import { saladDecoder } from '../../../../../src/network/salad-networks.js';
import { inferShapes, trainableCount } from '../../../../../src/network/shapes.js';
import { lastRound } from '../../../../../src/training/encoders/salad/anchors.js';
import { parseSaladConfig } from '../../../../../src/training/encoders/salad/config.js';
import { stepsPerEpoch } from '../../../../../src/training/encoders/salad/schedule.js';
import {
  SALAD_PRESET_NAMES,
  type SaladPreset,
  saladPreset,
  withFreeEmbeddingName,
} from '../../../../../src/training/encoders/salad/settings.js';
import { encoderOf } from '../../../../../src/training/encoders/salad/trainable-network.js';

const pickScoring = ({ scoring, input, tiling, whiten }: SaladPreset) => ({ scoring, input, tiling, whiten });

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

  it("has the paper's network, schedule and scoring under the name paper", () => {
    const { input, config, scoring, whiten } = saladPreset('paper');
    const encoder = encoderOf(config, input.workingSize);
    const { baseWidth, downs, embedding, channels } = config;
    const decoder = saladDecoder({ inputSize: input.workingSize, baseWidth, downs, embedding, channels });
    assert.equal(trainableCount(encoder), 22_157_424);
    assert.equal(trainableCount(encoder) + trainableCount(decoder), 32_429_120);
    assert.equal((lastRound(config.rate) + 1) * config.epochsPerRound, 550);
    assert.equal(whiten, false);
    // docs/explanation/salad-method.md, section 2 and 4 to 6, value by value.
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

  for (const [name, size, width, epochs] of [
    ['paper-128', 128, 8, 3],
    ['reduced', 64, 8, 5],
  ] as const) {
    it(`keeps in ${name} everything of paper but size, width and epochs, and says so`, () => {
      const { config, scoring, input, tiling, whiten, description } = saladPreset(name);
      const paper = saladPreset('paper', size);
      const smaller = { baseWidth: width, epochsPerRound: epochs };
      assert.deepEqual(config, { ...paper.config, ...smaller });
      assert.deepEqual({ scoring, input, tiling, whiten }, pickScoring(paper));
      assert.equal(lastRound(config.rate) + 1, 11);
      for (const said of [`images of ${size} px`, `width ${width} (16)`, `${epochs} epochs per round (50)`]) {
        assert.ok(description.includes(said), said);
      }
    });
  }

  for (const [name, minutes] of [
    ['paper-128', 45],
    ['reduced', 15],
  ] as const) {
    it(`${name} is little enough work for ${minutes} minutes of one core that does 18 GFLOP/s`, () => {
      const { config, input } = saladPreset(name);
      const { baseWidth, downs, embedding, channels, batchSize, epochsPerRound, rate } = config;
      const size = { inputSize: input.workingSize, baseWidth, downs, embedding, channels };
      const encoder = convolutionMacs(encoderOf(config, input.workingSize));
      const macs = encoder + convolutionMacs(saladDecoder(size), embedding);
      // Of 1,349 images four fifths train. Forward and two gradients; two operations per multiply-accumulate.
      const steps = (lastRound(rate) + 1) * epochsPerRound * stepsPerEpoch(1078, batchSize);
      const gigaFlop = (steps * batchSize * 3 * 2 * macs) / 1e9;
      assert.ok(gigaFlop / 18 / 60 < minutes, `${gigaFlop / 18 / 60} minutes`);
    });
  }

  it('scores tiles as soon as their rows are there with the preset salad', () => {
    assert.deepEqual(saladPreset('salad').input.intensity, { kind: 'window' });
    assert.equal(geometryOf(saladPreset('salad', 128).input, saladPreset('salad', 128).tiling).tileRows, 4);
  });

  it('frees the name embedding for layers that follow', () => {
    const { config, input } = saladPreset('salad-image');
    const network = withFreeEmbeddingName(encoderOf(config, input.workingSize));
    inferShapes(network);
    assert.equal(
      network.nodes.some((node) => node.name === 'embedding'),
      false,
    );
  });

  it('refuses unknown names and sizes that do not fit', () => {
    for (const [name, size] of [
      ['salade', undefined],
      ['salad', 100],
      ['paper', 200],
    ] as const) {
      assert.throws(() => saladPreset(name, size), { reason: 'CONFIGURATION_INVALID' });
    }
  });
});
