/** Encodes and decodes the tensors of a bundle, and rounds those that it stores in half precision. */

import type { Geometry } from '../geometry/geometry.js';
import type { Weights, WeightTensor } from '../network/description.js';
import { roundToFloat16 } from '../network/float16.js';
import { type MemoryBank, normaliseRows } from '../scoring/memory-bank.js';
import type { PlausibilityTensors } from '../scoring/plausibility.js';
import { type GoldenBatch, invalidBundle } from './check.js';
import { decodeSafetensors, encodeSafetensors, type StoredTensor } from './safetensors.js';

export type FloatType = 'F32' | 'F16';

/** The storage type of a bundle's tensors; the default is F32. */
export interface StoragePrecision {
  readonly weights?: (name: string) => FloatType;
  readonly bank?: FloatType;
}

/** Rounding is repeated until no value changes; two rounds are nearly always enough. */
const ROUNDS_MAX = 16;

/** Rounds rows and scales them back to unit length, so that storing and loading does not change them any more. */
function roundRows(prototypes: Float32Array, dimension: number): Float32Array {
  let rows = prototypes;
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const next = normaliseRows(roundToFloat16(rows), dimension);
    if (next.every((value, index) => value === rows[index])) break;
    rows = next;
  }
  return rows;
}

/**
 * Rounds the weights to the values that the bundle will store. Bank, calibration and golden scores must be computed
 * with the rounded weights, or the served model differs from the calibrated one.
 */
export function roundWeightsForStorage(weights: Weights, precision: StoragePrecision): Weights {
  const rounded = new Map<string, WeightTensor>();
  for (const [name, tensor] of weights) {
    const half = precision.weights?.(name) === 'F16';
    rounded.set(name, half ? { shape: tensor.shape, data: roundToFloat16(tensor.data) } : tensor);
  }
  return rounded;
}

/** Rounds the bank to the values that the bundle will store; prototypes have unit length in float32 after it. */
export function roundBankForStorage(bank: MemoryBank, precision: StoragePrecision): MemoryBank {
  if (precision.bank !== 'F16') return bank;
  return { ...bank, prototypes: roundRows(bank.prototypes, bank.dimension) };
}

export function encodeWeights(weights: Weights, precision: StoragePrecision): Uint8Array {
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { shape, data }] of weights) {
    tensors.set(name, { dtype: precision.weights?.(name) ?? 'F32', shape, data });
  }
  return encodeSafetensors(tensors);
}

export function decodeWeights(bytes: Uint8Array, file: string): Weights {
  const weights = new Map<string, WeightTensor>();
  for (const [name, tensor] of decodeSafetensors(bytes, file)) {
    if (tensor.dtype !== 'F32' && tensor.dtype !== 'F16') {
      throw invalidBundle(`${file}: weight ${name} is ${tensor.dtype}, not a float`);
    }
    weights.set(name, { shape: tensor.shape, data: tensor.data });
  }
  return weights;
}

export function encodeBank(bank: MemoryBank, precision: StoragePrecision): Uint8Array {
  const { rows, dimension } = bank;
  return encodeSafetensors(
    new Map<string, StoredTensor>([
      ['prototypes', { dtype: precision.bank ?? 'F32', shape: [rows, dimension], data: bank.prototypes }],
      ['positions', { dtype: 'I32', shape: [rows, 2], data: bank.positions }],
      ['sources', { dtype: 'I32', shape: [rows], data: bank.sources }],
    ]),
  );
}

/** @throws SaladError BUNDLE_INVALID where the tensor is missing or has another type or rank. */
function requiredTensor<Type extends StoredTensor['dtype']>(
  tensors: ReadonlyMap<string, StoredTensor>,
  file: string,
  name: string,
  rank: number,
  ...types: readonly Type[]
): Extract<StoredTensor, { dtype: Type }> {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw invalidBundle(`${file}: tensor ${name} is missing`);
  if (!(types as readonly string[]).includes(tensor.dtype) || tensor.shape.length !== rank) {
    throw invalidBundle(`${file}: tensor ${name} must be ${types.join(' or ')} of rank ${rank}`);
  }
  return tensor as Extract<StoredTensor, { dtype: Type }>;
}

export function decodeBank(bytes: Uint8Array, file: string): MemoryBank {
  const tensors = decodeSafetensors(bytes, file);
  const prototypes = requiredTensor(tensors, file, 'prototypes', 2, 'F32', 'F16');
  const [rows = 0, dimension = 0] = prototypes.shape;
  if (prototypes.dtype === 'F16') normaliseRows(prototypes.data, dimension);
  return {
    rows,
    dimension,
    prototypes: prototypes.data,
    positions: requiredTensor(tensors, file, 'positions', 2, 'I32').data,
    sources: requiredTensor(tensors, file, 'sources', 1, 'I32').data,
  };
}

export function encodeGolden(
  golden: GoldenBatch,
  { tileHeight, tileWidth }: Pick<Geometry, 'tileHeight' | 'tileWidth'>,
): Uint8Array {
  const count = golden.positions.length / 2;
  return encodeSafetensors(
    new Map<string, StoredTensor>([
      ['pixels', { dtype: 'U8', shape: [count, tileHeight, tileWidth], data: golden.pixels }],
      ['positions', { dtype: 'I32', shape: [count, 2], data: golden.positions }],
      ['scores', { dtype: 'F32', shape: [count, golden.scores.length / count], data: golden.scores }],
    ]),
  );
}

export function decodeGolden(bytes: Uint8Array, file: string): GoldenBatch {
  const tensors = decodeSafetensors(bytes, file);
  return {
    pixels: requiredTensor(tensors, file, 'pixels', 3, 'U8').data,
    positions: requiredTensor(tensors, file, 'positions', 2, 'I32').data,
    scores: requiredTensor(tensors, file, 'scores', 2, 'F32').data,
  };
}

export function encodePlausibility({
  mean,
  scale,
  components,
  variances,
  mirror,
}: PlausibilityTensors): Uint8Array {
  const size = mean.length;
  return encodeSafetensors(
    new Map<string, StoredTensor>([
      ['mean', { dtype: 'F32', shape: [size], data: mean }],
      ['scale', { dtype: 'F32', shape: [size], data: scale }],
      ['components', { dtype: 'F16', shape: [variances.length, size], data: components }],
      ['variances', { dtype: 'F32', shape: [variances.length], data: variances }],
      ['mirror', { dtype: 'F32', shape: [size], data: mirror }],
    ]),
  );
}

export function decodePlausibility(bytes: Uint8Array, file: string): PlausibilityTensors {
  const tensors = decodeSafetensors(bytes, file);
  const vector = (name: string): Float32Array => requiredTensor(tensors, file, name, 1, 'F32').data;
  return {
    mean: vector('mean'),
    scale: vector('scale'),
    components: requiredTensor(tensors, file, 'components', 2, 'F16').data,
    variances: vector('variances'),
    mirror: vector('mirror'),
  };
}
