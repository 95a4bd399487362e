import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import * as ort from 'onnxruntime-node';
import { geometryOf } from '../../../src/geometry/geometry.js';
import { roundFilters, roundToBfloat16 } from '../../../src/network/bfloat16.js';
import type { NetworkDescription, NetworkNode, Weights } from '../../../src/network/description.js';
import { buildOnnx } from '../../../src/network/onnx/build.js';
import { buildHeadAndTail } from '../../../src/network/onnx/head-and-tail.js';
import { createRandom } from '../../../src/util/random.js';
import { smallDraft } from '../../reference/small-model.js';

const sumOf = (kernel: Float32Array, filters: number, filter: number): number =>
  kernel.reduce((sum, value, at) => (at % filters === filter ? sum + value : sum), 0);

describe('rounding to bfloat16', () => {
  it('gives the nearest number with 8 significant bits, ties to even', () => {
    assert.equal(roundToBfloat16(1 + 1 / 128), 1 + 1 / 128);
    assert.equal(roundToBfloat16(1 + 1 / 256), 1);
    assert.equal(roundToBfloat16(1 + 3 / 256), 1 + 2 / 128);
    assert.equal(roundToBfloat16(-127.5), -127.5);
    assert.equal(roundToBfloat16(0), 0);
  });

  it('keeps the sum of an edge filter at zero, which rounding each weight does not', () => {
    const filters = 6;
    const random = createRandom(5);
    const kernel = Float32Array.from({ length: 121 * filters }, () => random() - 0.5);
    for (let filter = 0; filter < filters; filter++) kernel[filter]! -= sumOf(kernel, filters, filter);
    const rounded = roundFilters(kernel, filters);
    const plain = kernel.map(roundToBfloat16);
    for (const [at, value] of rounded.entries()) {
      assert.equal(value, roundToBfloat16(value));
      assert.ok(Math.abs(value - kernel[at]!) <= 2 ** -7 * Math.abs(kernel[at]!) + 2 ** -8);
    }
    for (let filter = 0; filter < filters; filter++) {
      const left = Math.abs(sumOf(rounded, filters, filter));
      assert.ok(left < 1e-4, `${left}`);
      assert.ok(left < Math.abs(sumOf(plain, filters, filter)));
    }
  });
});

/** A filter bank whose weights are exact in bfloat16: magnitudes, cropped and pooled over the border, then whitened. */
function bank(members: number): { readonly network: NetworkDescription; readonly weights: Weights } {
  const conv = { op: 'conv', stride: 1, padding: 1, bias: false, trainable: false, kernelSize: 3 } as const;
  const member = (at: number): NetworkNode[] => [
    { ...conv, name: `bank${at}`, input: 'scaled', inChannels: 1, outChannels: 4 },
    { op: 'square', name: `energy${at}`, input: `bank${at}` },
    { op: 'sqrt', name: `magnitude${at}`, input: `energy${at}`, epsilon: 1e-8 },
    { op: 'crop', name: `inner${at}`, input: `magnitude${at}`, offset: 1, size: 18, width: 26 },
    { op: 'avgPool', name: `pooled${at}`, input: `inner${at}`, size: 4, stride: 2, padding: 2 },
    { op: 'log', name: `log${at}`, input: `pooled${at}`, epsilon: 0.02 },
    { ...conv, name: `whiten${at}`, input: `log${at}`, inChannels: 4, outChannels: 5 },
    { op: 'l2Normalize', name: `unit${at}`, input: `whiten${at}` },
  ];
  const each = Array.from({ length: members }, (_, at) => at);
  const network: NetworkDescription = {
    inputSize: 20,
    inputWidth: 28,
    output: 'embedding',
    nodes: [
      { op: 'affine', name: 'scaled', input: 'input', scale: 1 / 128, shift: -1 },
      ...each.flatMap(member),
      { op: 'concat', name: 'embedding', inputs: each.map((at) => `unit${at}`) },
    ],
  };
  const random = createRandom(9);
  const eighths = (length: number) => Float32Array.from({ length }, () => Math.floor(random() * 17 - 8) / 8);
  const weights = new Map(
    each.flatMap((at) => [
      [`bank${at}/kernel`, { shape: [3, 3, 1, 4], data: eighths(36) }],
      [`whiten${at}/kernel`, { shape: [3, 3, 4, 5], data: eighths(180) }],
    ]),
  );
  return { network, weights };
}

describe('an encoder as head and tail', () => {
  for (const members of [1, 2]) {
    it(`gives the embeddings of one graph, with pools of magnitudes as convolutions (${members} members)`, async () => {
      const { network, weights } = bank(members);
      const { manifest } = smallDraft(1);
      const geometry = geometryOf(manifest.input, manifest.tiling);
      const random = createRandom(3);
      const pixels = Uint8Array.from({ length: 2 * 20 * 28 }, () => Math.floor(random() * 256));
      const { head, tail, featureCount } = buildHeadAndTail({ network, weights });
      assert.equal(featureCount, members * 4 * 10 * 14);
      const open = (bytes: Uint8Array) => ort.InferenceSession.create(bytes, { logSeverityLevel: 3 });
      const [whole, first, second] = await Promise.all([
        open(buildOnnx({ network, weights, geometry })),
        open(head),
        open(tail),
      ]);
      const tiles = new ort.Tensor('uint8', pixels, [2, 20, 28, 1]);
      const expected = (await whole.run({ tiles }))['embeddings']!.data as Float32Array;
      const { features } = await first.run({ tiles });
      const actual = (await second.run({ features: features! }))['embeddings']!.data as Float32Array;
      assert.equal(actual.length, expected.length);
      assert.ok(actual.every((value, at) => Math.abs(value - expected[at]!) < 1e-5));
      // A grouped convolution replaces the pool in the head.
      assert.ok(!Buffer.from(head).includes('AveragePool'));
    });
  }
});
