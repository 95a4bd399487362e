import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { SaladError } from '../../../../src/errors/index.js';
import {
  type ResampleKernel,
  type ResampleShape,
  RowResampler,
  resampleImage,
} from '../../../../src/imaging/working-image/resample.js';

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** The kernels as continuous functions of the distance d between sample and target centre, in source pixels. */
function kernelWeight(kernel: ResampleKernel, scale: number, d: number): number {
  if (kernel === 'lanczos3') {
    const x = d / Math.max(1, scale);
    return Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0;
  }
  if (scale < 1) return Math.max(0, 1 - Math.abs(d));
  // Overlap of [d - 1/2, d + 1/2] with [-scale/2, scale/2].
  return Math.max(0, Math.min(d + 0.5, scale / 2) - Math.max(d - 0.5, -scale / 2));
}

/** The obvious reference: a direct two-dimensional weighted mean over the whole source, in float64. */
function reference(source: Float32Array, shape: ResampleShape): number[] {
  const kernel = shape.kernel ?? 'area';
  const scaleY = shape.sourceRows / shape.targetRows;
  const scaleX = shape.sourceColumns / shape.targetColumns;
  const out: number[] = [];
  for (let ty = 0; ty < shape.targetRows; ty++) {
    for (let tx = 0; tx < shape.targetColumns; tx++) {
      let sum = 0;
      let total = 0;
      for (let y = 0; y < shape.sourceRows; y++) {
        const wy = kernelWeight(kernel, scaleY, y + 0.5 - (ty + 0.5) * scaleY);
        if (wy === 0) continue;
        for (let x = 0; x < shape.sourceColumns; x++) {
          const w = wy * kernelWeight(kernel, scaleX, x + 0.5 - (tx + 0.5) * scaleX);
          sum += w * source[y * shape.sourceColumns + x]!;
          total += w;
        }
      }
      out.push(sum / total);
    }
  }
  return out;
}

const side = fc.integer({ min: 1, max: 23 });
const shapes = fc.record({
  sourceRows: side,
  sourceColumns: side,
  targetRows: side,
  targetColumns: side,
  kernel: fc.constantFrom('area' as const, 'lanczos3' as const),
});

function noise(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 65_793;
  });
}

describe('RowResampler', () => {
  it('agrees with the direct two-dimensional formula for any sizes, larger and smaller', () => {
    fc.assert(
      fc.property(shapes, fc.integer(), (shape, seed) => {
        const source = noise(shape.sourceRows * shape.sourceColumns, seed);
        const actual = resampleImage(source, shape);
        const expected = reference(source, shape);
        assert.equal(actual.length, expected.length);
        for (const [i, value] of actual.entries()) assert.ok(Math.abs(value - expected[i]!) < 1e-3);
      }),
      { seed: 5, numRuns: 150 },
    );
  });

  it('gives identical results for any numbers of rows at a time', () => {
    fc.assert(
      fc.property(
        shapes,
        fc.integer(),
        fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 30, maxLength: 30 }),
        (shape, seed, chunks) => {
          const source = noise(shape.sourceRows * shape.sourceColumns, seed);
          const streamed = new Float32Array(shape.targetRows * shape.targetColumns);
          const resampler = new RowResampler(shape, (row, v) => streamed.set(v, row * shape.targetColumns));
          let at = 0;
          for (const chunk of [...chunks, ...new Array<number>(23).fill(1)]) {
            const rows = Math.min(chunk, shape.sourceRows - at);
            resampler.push(source.subarray(at * shape.sourceColumns), rows);
            at += rows;
          }
          assert.deepEqual(streamed, resampleImage(source, shape));
        },
      ),
      { seed: 6, numRuns: 150 },
    );
  });

  it('copies an image that keeps its size exactly', () => {
    const source = noise(17 * 13, 3);
    const same = { sourceRows: 17, sourceColumns: 13, targetRows: 17, targetColumns: 13 };
    assert.deepEqual(resampleImage(source, same), source);
  });

  it('averages 2 x 2 blocks when halving', () => {
    const half = { sourceRows: 2, sourceColumns: 4, targetRows: 1, targetColumns: 2 };
    assert.deepEqual([...resampleImage(Float32Array.of(1, 3, 10, 20, 5, 7, 30, 40), half)], [4, 25]);
  });

  it('returns a target row as soon as its last source row arrived', () => {
    const rows: number[] = [];
    const shape = { sourceRows: 9, sourceColumns: 2, targetRows: 3, targetColumns: 2 };
    const resampler = new RowResampler(shape, (row) => rows.push(row));
    const seen: number[] = [];
    for (let i = 0; i < 9; i++) {
      resampler.push(noise(2, i), 1);
      seen.push(rows.length);
    }
    assert.deepEqual(seen, [0, 0, 1, 1, 1, 2, 2, 2, 3]);
    assert.deepEqual(rows, [0, 1, 2]);
  });

  it('keeps a constant image constant for an odd scale', () => {
    const shape = { sourceRows: 1000, sourceColumns: 7, targetRows: 224, targetColumns: 3 };
    for (const value of resampleImage(new Float32Array(7000).fill(200), shape)) {
      assert.ok(Math.abs(value - 200) < 1e-4);
    }
  });

  it('refuses more rows than the image has', () => {
    const resampler = new RowResampler(
      { sourceRows: 2, sourceColumns: 2, targetRows: 1, targetColumns: 1 },
      () => {},
    );
    assert.throws(
      () => resampler.push(new Float32Array(6), 3),
      (error: unknown) => error instanceof SaladError && error.reason === 'SAMPLE_COUNT_MISMATCH',
    );
  });
});
