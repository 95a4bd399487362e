/** Tensors of a bundle to and from its files, and rounding to half precision where a bundle stores that. */

import type { Geometry } from '../geometry/geometry.js';
import type { Weights, WeightTensor } from '../network/description.js';
import { roundToFloat16 } from '../network/float16.js';
import { type MemoryBank, normaliseRows } from '../scoring/memory-bank.js';
import { type GoldenBatch, invalidBundle } from './check.js';
import { decodeSafetensors, encodeSafetensors, type StoredTensor } from './safetensors.js';

export type FloatType = 'F32' | 'F16';

/** Which tensors a bundle stores in half precision. Default: none. */
export interface StoragePrecision {
  readonly weights?: (name: string) => FloatType;
  readonly bank?: FloatType;
}

/** Roundings until a row stays as it is; two are nearly always enough. */
const MAX_ROUNDINGS = 16;

/** Rounded rows, scaled back to unit length: a fixed point of store-and-load. */
function roundRows(prototypes: Float32Array, dimension: number): Float32Array {
  let rows = prototypes;
  for (let round = 0; round < MAX_ROUNDINGS; round++) {
    const next = normaliseRows(roundToFloat16(rows), dimension);
    if (next.every((value, index) => value === rows[index])) break;
    rows = next;
  }
  return rows;
}

/**
 * The weights as a bundle will hold them. Everything computed from them afterwards (bank, calibration,
 * golden scores) must use these, or the served model differs from the calibrated one.
 */
export function quantizeWeights(weights: Weights, precision: StoragePrecision): Weights {
  const rounded = new Map<string, WeightTensor>();
  for (const [name, tensor] of weights) {
    const half = precision.weights?.(name) === 'F16';
    rounded.set(name, half ? { shape: tensor.shape, data: roundToFloat16(tensor.data) } : tensor);
  }
  return rounded;
}

/** The bank as a bundle will hold it; prototypes are of unit length in float32 again after rounding. */
export function quantizeBank(bank: MemoryBank, precision: StoragePrecision): MemoryBank {
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

function pick<Type extends StoredTensor['dtype']>(
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
  const prototypes = pick(tensors, file, 'prototypes', 2, 'F32', 'F16');
  const [rows = 0, dimension = 0] = prototypes.shape;
  if (prototypes.dtype === 'F16') normaliseRows(prototypes.data, dimension);
  return {
    rows,
    dimension,
    prototypes: prototypes.data,
    positions: pick(tensors, file, 'positions', 2, 'I32').data,
    sources: pick(tensors, file, 'sources', 1, 'I32').data,
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
    pixels: pick(tensors, file, 'pixels', 3, 'U8').data,
    positions: pick(tensors, file, 'positions', 2, 'I32').data,
    scores: pick(tensors, file, 'scores', 2, 'F32').data,
  };
}
