import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Covariance, symmetricEigen, whiteningLayer } from '../../../../src/training/encoders/whitening.js';
import { createRandom } from '../../../../src/util/random.js';

function correlatedRows(count: number, dimension: number): Float32Array[] {
  const random = createRandom(7);
  return Array.from({ length: count }, () => {
    const common = random() - 0.5;
    return Float32Array.from({ length: dimension }, (_, i) => 3 * common * (i + 1) + random() + i);
  });
}

describe('whitening', () => {
  it('finds the eigenvalues and eigenvectors of a known matrix', () => {
    const { values, vectors } = symmetricEigen(Float64Array.from([2, 1, 1, 2]), 2);
    assert.ok(Math.abs(values[0]! - 3) < 1e-12 && Math.abs(values[1]! - 1) < 1e-12);
    assert.ok(Math.abs(vectors[0]! - Math.SQRT1_2) < 1e-12 && Math.abs(vectors[2]! - Math.SQRT1_2) < 1e-12);
  });

  it('decomposes a matrix that its eigenvectors rebuild', () => {
    const n = 12;
    const statistics = new Covariance(n);
    for (const row of correlatedRows(50, n)) statistics.add(row);
    const matrix = statistics.covariance();
    const { values, vectors } = symmetricEigen(matrix, n);
    for (let i = 0; i < n; i += 1) {
      for (let j = 0; j < n; j += 1) {
        let sum = 0;
        for (let k = 0; k < n; k += 1) sum += vectors[i * n + k]! * values[k]! * vectors[j * n + k]!;
        assert.ok(Math.abs(sum - matrix[i * n + j]!) < 1e-9);
      }
    }
  });

  it('maps the fitted rows to zero mean and a covariance near identity', () => {
    const n = 6;
    const rows = correlatedRows(400, n);
    const statistics = new Covariance(n);
    for (const row of rows) statistics.add(row);
    const layer = whiteningLayer(statistics, 'descriptor', { shrinkage: 1e-6 });
    const kernel = layer.weights.get('whiten/kernel')!.data;
    const bias = layer.weights.get('whiten/bias')!.data;
    const after = new Covariance(n);
    for (const row of rows) {
      after.add(
        bias.map((shift, k) => row.reduce((sum, value, i) => sum + value * kernel[i * n + k]!, shift)),
      );
    }
    const covariance = after.covariance();
    for (let i = 0; i < n; i += 1) {
      assert.ok(Math.abs(after.mean()[i]!) < 1e-3);
      for (let j = 0; j < n; j += 1) {
        assert.ok(Math.abs(covariance[i * n + j]! - (i === j ? 1 : 0)) < 0.01);
      }
    }
  });

  it('appends a constant channel on request and leaves the others unchanged', () => {
    const n = 5;
    const statistics = new Covariance(n);
    for (const row of correlatedRows(100, n)) statistics.add(row);
    const [plain, longer] = [{}, { constant: 4 }].map((options) => {
      const { nodes, weights } = whiteningLayer(statistics, 'descriptor', options);
      const [whiten] = nodes;
      return { nodes, whiten, kernel: weights.get('whiten/kernel')!, bias: weights.get('whiten/bias')! };
    });
    assert.ok(longer!.whiten?.op === 'conv' && longer!.whiten.outChannels === n + 1);
    assert.deepEqual(longer!.kernel.shape, [1, 1, n, n + 1]);
    for (let from = 0; from < n; from += 1) {
      const row = longer!.kernel.data.subarray(from * (n + 1), (from + 1) * (n + 1));
      assert.deepEqual([...row], [...plain!.kernel.data.subarray(from * n, (from + 1) * n), 0]);
    }
    assert.deepEqual([...longer!.bias.data], [...plain!.bias.data, 4]);
  });
});
