import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { geometryOf } from '../../../../src/model/geometry.js';
import { inputSchema, scoringSchema, tilingSchema } from '../../../../src/model/manifest.js';
import { saladDecoder } from '../../../../src/model/networks.js';
import { inferShapes, trainableCount } from '../../../../src/model/shapes.js';
import { lastRound } from '../../../../src/training/salad/anchors.js';
import { parseSaladConfig } from '../../../../src/training/salad/config.js';
import {
  SALAD_PRESET_NAMES,
  saladPreset,
  withFreeEmbeddingName,
} from '../../../../src/training/salad/presets.js';
import { encoderOf } from '../../../../src/training/salad/trainable-network.js';

describe('SALAD presets', () => {
  for (const name of SALAD_PRESET_NAMES) {
    it(`${name} is a valid configuration whose encoder gives one embedding per patch`, () => {
      const { input, tiling, config, scoring } = saladPreset(name);
      inputSchema.parse(input);
      tilingSchema.parse(tiling);
      scoringSchema.parse(scoring);
      parseSaladConfig(config);
      const geometry = geometryOf(input, tiling);
      const network = encoderOf(config, geometry.tileSize);
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
    assert.equal(scoring.neighbourCount, 100);
    assert.equal(whiten, false);
  });

  it('scores tiles as soon as their rows are there with the preset salad', () => {
    assert.deepEqual(saladPreset('salad').input.intensity, { kind: 'window' });
    assert.equal(
      geometryOf(saladPreset('salad', 128).input, saladPreset('salad', 128).tiling).tilesPerSide,
      4,
    );
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
