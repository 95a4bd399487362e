import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { networkSchema } from '../../../src/network/description.js';
import { initialiseWeights } from '../../../src/network/initialise.js';
import { paperUnet, saladDecoder, saladEncoder } from '../../../src/network/salad-networks.js';
import { checkWeights, inferShapes, trainableCount, weightSpecs } from '../../../src/network/shapes.js';

const oracles = JSON.parse(
  readFileSync(new URL('../../oracles/salad-oracles.json', import.meta.url), 'utf8'),
) as { params: { encoder: number; total: number; stages: Record<string, number> } };

describe('the networks of SALAD', () => {
  it('have as many trainable values as the published U-Net', () => {
    const { encoder, decoder } = paperUnet();
    assert.equal(trainableCount(encoder), oracles.params.encoder);
    assert.equal(trainableCount(encoder) + trainableCount(decoder), oracles.params.total);
  });

  it('have as many values in every stage as the published U-Net', () => {
    const { encoder, decoder } = paperUnet();
    const counted: Record<string, number> = {};
    const renamed: Record<string, string> = { feature: 'feat', defeature: 'defeat' };
    for (const spec of [...weightSpecs(encoder), ...weightSpecs(decoder)].filter((s) => s.trainable)) {
      const stage = spec.node.replace(/(a|b)?(Conv|Norm)$/, '');
      const key = renamed[stage] ?? stage;
      counted[key] = (counted[key] ?? 0) + spec.shape.reduce((a, b) => a * b, 1);
    }
    assert.deepEqual(counted, oracles.params.stages);
  });

  it('give one patch per tile and a reconstruction of the size of the tile', () => {
    const options = { inputSize: 64, baseWidth: 16, downs: 4, embedding: 128 };
    const encoder = saladEncoder(options);
    const decoder = saladDecoder(options);
    assert.deepEqual(inferShapes(encoder).get(encoder.output), { height: 1, width: 1, channels: 128 });
    assert.deepEqual(inferShapes(decoder, 128).get(decoder.output), { height: 64, width: 64, channels: 1 });
  });

  it('pass their schema', () => {
    const encoder = saladEncoder({ inputSize: 32, baseWidth: 4, downs: 3, embedding: 8, channels: 3 });
    assert.deepEqual(networkSchema.parse(encoder), encoder);
  });

  it('are refused where a size does not halve to whole numbers', () => {
    assert.throws(() => saladEncoder({ inputSize: 60, baseWidth: 4, downs: 4, embedding: 8 }), {
      reason: 'CONFIGURATION_INVALID',
    });
    assert.throws(() => saladDecoder({ inputSize: 64, baseWidth: 4, downs: 3, embedding: 8 }), {
      reason: 'CONFIGURATION_INVALID',
    });
  });

  it('get the same weights from the same seed, within the bounds of PyTorch', () => {
    const network = saladEncoder({ inputSize: 16, baseWidth: 4, downs: 2, embedding: 8 });
    const weights = initialiseWeights(network, 7);
    checkWeights(network, weights);
    assert.deepEqual(weights, initialiseWeights(network, 7));
    assert.notDeepEqual(weights, initialiseWeights(network, 8));
    const kernel = weights.get('e1aConv/kernel');
    assert.ok(kernel !== undefined);
    const bound = 1 / Math.sqrt(9 * 4);
    const largest = Math.max(...kernel.data.map(Math.abs));
    assert.ok(largest <= bound && largest > 0.9 * bound);
    assert.deepEqual(weights.get('e1aNorm/gamma')?.data, new Float32Array(8).fill(1));
  });
});

describe('the checks of a network description', () => {
  const network = saladEncoder({ inputSize: 8, baseWidth: 2, downs: 1, embedding: 4 });

  it('refuse a node that reads the output of a later node', () => {
    const nodes = [...network.nodes].reverse();
    assert.throws(() => inferShapes({ ...network, nodes }), { reason: 'BUNDLE_INVALID' });
  });

  it('refuse two nodes of one name', () => {
    const nodes = [...network.nodes, network.nodes[0]!];
    assert.throws(() => inferShapes({ ...network, nodes }), /two tensors are named normalised/);
  });

  it('refuse missing weights, extra weights and wrong shapes', () => {
    const weights = new Map(initialiseWeights(network, 1));
    const kernel = weights.get('feature/kernel')!;
    weights.set('feature/kernel', { shape: [4, 4, 4, 5], data: kernel.data });
    assert.throws(() => checkWeights(network, weights), /feature\/kernel is \[4,4,4,5\]/);
    weights.delete('feature/kernel');
    assert.throws(() => checkWeights(network, weights), /feature\/kernel is missing/);
    weights.set('feature/kernel', kernel).set('other', kernel);
    assert.throws(() => checkWeights(network, weights), /no node reads: other/);
  });

  it('refuse weights that are not finite', () => {
    const weights = new Map(initialiseWeights(network, 1));
    weights.get('feature/kernel')!.data[0] = Number.NaN;
    assert.throws(() => checkWeights(network, weights), /not finite/);
  });
});
