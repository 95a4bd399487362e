import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  addRoundness,
  type BlobSpec,
  curvatureKernels,
} from '../../../../../src/training/encoders/gabor/blobs.js';
import { DescriptorGraph } from '../../../../../src/training/encoders/gabor/network.js';
import { referenceForward } from '../../../../reference/network.js';

const SPEC: BlobSpec = { size: 17, sigmas: [2, 2.8], gain: 1 };
const SIZE = 33;

/** Highest roundness of every sigma on an image of 33 x 33 pixels. */
function maxRoundness(value: (x: number, y: number) => number): number[] {
  const graph = new DescriptorGraph(0.02);
  const output = addRoundness(graph, 'b1', 'input', SPEC);
  const network = { inputSize: SIZE, nodes: graph.nodes, output };
  const middle = (SIZE - 1) / 2;
  const pixels = Float64Array.from({ length: SIZE * SIZE }, (_, at) =>
    value((at % SIZE) - middle, Math.floor(at / SIZE) - middle),
  );
  const plane = { height: SIZE, width: SIZE, channels: 1, data: pixels };
  const { data } = referenceForward(network, graph.weights, plane);
  return SPEC.sigmas.map((_, sigma) =>
    Math.max(...data.filter((__, at) => at % SPEC.sigmas.length === sigma)),
  );
}

const disc = (radius: number) => (x: number, y: number) => (Math.hypot(x, y) <= radius ? 1 : 0);

describe('roundness', () => {
  it('has kernels that give zero on a constant image', () => {
    const { shape, data } = curvatureKernels(SPEC);
    assert.deepEqual(shape, [17, 17, 1, 6]);
    for (let channel = 0; channel < 6; channel += 1) {
      const sum = data.reduce((total, value, i) => (i % 6 === channel ? total + value : total), 0);
      assert.ok(Math.abs(sum) < 1e-6, `${sum}`);
    }
  });

  it('is high on bright discs, of larger discs with the larger sigma', () => {
    const [small, large] = [maxRoundness(disc(2.5)), maxRoundness(disc(4.5))];
    assert.ok(small[0]! > 0.2 && small[0]! > small[1]!, `${small}`);
    assert.ok(large[1]! > 0.2 && large[1]! > large[0]!, `${large}`);
  });

  it('is low on vessels and borders in any direction, and on dark discs', () => {
    for (const angle of [0, 0.4, Math.PI / 4, 1.2]) {
      const across = (x: number, y: number) => x * Math.cos(angle) + y * Math.sin(angle);
      const vessel = maxRoundness((x, y) => (Math.abs(across(x, y)) <= 2 ? 1 : 0));
      const border = maxRoundness((x, y) => (across(x, y) > 0 ? 1 : 0));
      for (const value of [...vessel, ...border]) assert.ok(value < 0.06, `${angle}: ${vessel}, ${border}`);
    }
    const dark = maxRoundness((x, y) => -disc(3)(x, y));
    assert.ok(Math.max(...dark) < 0.06, `${dark}`);
  });
});
