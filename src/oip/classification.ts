/** Triton's classification: labels in place of scores. */
import { SaladError } from '../errors/index.js';
import { bytesTensor, type OutputTensor } from './encoded-tensor.js';
import { LABELS } from './views.js';

/** Label of an image that has no decision. */
const UNDECIDED = 'indeterminate';

/**
 * @param scores the tensor `score`
 * @param most labels for each image, at least 1
 * @returns for each image "VALUE:INDEX:LABEL", the largest value first
 */
export function classified(scores: OutputTensor, most: number): OutputTensor {
  const { data, name } = scores;
  const values = new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4);
  const width = Math.min(most, LABELS.length);
  const texts: Buffer[] = [];
  for (let first = 0; first < values.length; first += LABELS.length) {
    const own = LABELS.map((label, index) => ({
      label: label as string,
      index,
      value: values[first + index]!,
    }));
    const isDecided = own.every(({ value }) => !Number.isNaN(value));
    const ranked = isDecided ? own.sort((a, b) => b.value - a.value) : own;
    for (const { label, index, value } of ranked.slice(0, width)) {
      texts.push(Buffer.from(`${value.toFixed(6)}:${index}:${isDecided ? label : UNDECIDED}`));
    }
  }
  return bytesTensor(name, [values.length / LABELS.length, width], texts);
}

/** @param value of the parameter `classification` @throws SaladError PARAMETER_INVALID */
export function classificationCount(value: unknown, output: string): number {
  const count = typeof value === 'bigint' ? Number(value) : Number.NaN;
  if (Number.isSafeInteger(count) && count >= 0) return count;
  const field = `outputs.${output}.parameters.classification`;
  throw SaladError.field('PARAMETER_INVALID', field, 'must be a whole number of at least 0');
}
