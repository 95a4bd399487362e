/** The tensors of a request: found by name, their elements read. */
import type { ServedModel } from '../acquisition/index.js';
import { callerText, SaladError } from '../errors/index.js';
import { inTurns } from '../util/turns.js';
import type { InferInput, InferRequest } from './infer-request.js';
import { refuseUnknown } from './parameters.js';
import { bytesPerElement, type NumberType, typedBytes, typedElements } from './typed-contents.js';
import { inputsOf, type ModelView, maxBatchSize } from './views.js';

export interface InputTensor extends InferInput {
  /** Its elements of `raw_input_contents`; undefined where they are in `contents`. */
  readonly raw: Uint8Array | undefined;
}

/** Memory that a request reserves beside its message, until `release`. */
export class Reservations {
  private readonly releases: (() => void)[] = [];

  constructor(
    private readonly budget: ServedModel['budget'],
    private readonly peer: string,
  ) {}

  /** @throws SaladError OVERLOADED, QUOTA_EXCEEDED, IMAGE_TOO_LARGE */
  reserve(bytes: number): void {
    if (bytes > 0) this.releases.push(this.budget.reserveBytes(this.peer, bytes, 'decoding'));
  }

  release(): void {
    for (const release of this.releases.splice(0)) release();
  }
}

/** @returns the tensors in the order of `inputsOf` @throws SaladError TENSOR_INVALID, PARAMETER_INVALID */
export function inputTensors(request: InferRequest, view: ModelView): readonly InputTensor[] {
  const { inputs, rawInputContents } = request;
  const expected = inputsOf(view).map(({ name }) => name);
  for (const { name, parameters } of inputs) {
    if (!expected.includes(name)) {
      const why = `unexpected inference input '${callerText(name)}' for model '${view.name}'; its inputs: ${expected.join(', ')}`;
      throw SaladError.field('TENSOR_INVALID', 'inputs', why);
    }
    refuseUnknown(parameters, [], `inputs.${name}.parameters`);
  }
  if (inputs.length !== expected.length) {
    const why = `expected ${expected.length} inputs but got ${inputs.length} inputs for model '${view.name}'`;
    throw SaladError.field('TENSOR_INVALID', 'inputs', why);
  }
  const areRaw = rawInputContents.length > 0;
  if (areRaw && rawInputContents.length !== inputs.length) {
    const why = `has ${rawInputContents.length} elements for ${inputs.length} inputs`;
    throw SaladError.field('TENSOR_INVALID', 'raw_input_contents', why);
  }
  return expected.map((name) => {
    const index = inputs.findIndex((input) => input.name === name);
    const input = inputs[index];
    if (input === undefined) {
      throw SaladError.field(
        'TENSOR_INVALID',
        'inputs',
        `input '${name}' for model '${view.name}' is missing`,
      );
    }
    if (areRaw && (input.contents?.byteLength ?? 0) > 0) {
      const why = `contents field must not be specified when using raw_input_contents for '${name}' for model '${view.name}'`;
      throw SaladError.field('TENSOR_INVALID', `inputs.${name}`, why);
    }
    return { ...input, raw: rawInputContents[index] };
  });
}

/** @throws SaladError TENSOR_INVALID where the shape has sizes below 1, or too large a batch */
export function checkBatch(tensor: InputTensor, view: ModelView, count: number): void {
  const largest = maxBatchSize(view.view);
  if (tensor.shape.some((size) => !Number.isSafeInteger(size) || size < 1)) throw shapeError(tensor, view);
  if (count > largest) {
    const why = `inference request batch-size must be <= ${largest} for '${view.name}', is ${count}`;
    throw SaladError.field('TENSOR_INVALID', `inputs.${tensor.name}.shape`, why);
  }
}

/** @param expected @default the shape of the metadata */
export function shapeError({ name, shape }: InputTensor, view: ModelView, expected?: string): SaladError {
  const dims = inputsOf(view).find((each) => each.name === name)?.dims ?? [];
  const why = `unexpected shape for input '${name}' for model '${view.name}'. Expected ${expected ?? `[${[-1, ...dims].join(',')}]`}, got [${shape.join(',')}]`;
  return SaladError.field('TENSOR_INVALID', `inputs.${name}.shape`, why);
}

export function datatypeError(
  { name, datatype }: InputTensor,
  view: ModelView,
  expected: readonly string[],
): SaladError {
  const why = `inference input data-type is '${callerText(datatype)}', but model '${view.name}' expects ${expected.join(', ')} for input '${name}'`;
  return SaladError.field('TENSOR_INVALID', `inputs.${name}.datatype`, why);
}

/**
 * The elements of a tensor of numbers, little-endian: a view into the message where they came raw.
 * @param count of its shape
 * @throws SaladError SAMPLE_COUNT_MISMATCH, TENSOR_INVALID, and what `Reservations.reserve` throws
 */
export async function numberBytes(
  { name, raw, contents }: InputTensor,
  type: NumberType,
  count: number,
  reservations: Reservations,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const expected = count * bytesPerElement(type);
  if (raw !== undefined) {
    if (raw.byteLength === expected) return raw;
    const why = `unexpected total byte size ${raw.byteLength} for input '${name}', expecting ${expected}`;
    throw SaladError.field('SAMPLE_COUNT_MISMATCH', 'raw_input_contents', why);
  }
  reservations.reserve(expected);
  const elements = await inTurns(typedElements(contents ?? new Uint8Array(), type, name, count), signal);
  return new Uint8Array(elements.buffer);
}

/** The elements of a BYTES tensor: views. @throws SaladError SAMPLE_COUNT_MISMATCH, TENSOR_INVALID */
export function bytesElements({ name, raw, contents }: InputTensor, count: number): readonly Uint8Array[] {
  if (raw === undefined) return typedBytes(contents ?? new Uint8Array(), name, count);
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const elements: Uint8Array[] = [];
  let position = 0;
  while (elements.length < count && position + 4 <= raw.byteLength) {
    const start = position + 4;
    position = start + view.getUint32(position, true);
    elements.push(raw.subarray(start, position));
  }
  if (elements.length === count && position === raw.byteLength) return elements;
  const why = `must be ${count} elements, each after its length as a uint32, for input '${name}'`;
  throw SaladError.field('SAMPLE_COUNT_MISMATCH', 'raw_input_contents', why);
}

const FLOATS_PER_STEP = 16_384;

/**
 * Float32 in [0, 1] as whole numbers from 0 to `max`, rounded: u8 / 255 becomes u8 × 257 for 65,535.
 * @param bytes need not be aligned
 * @throws SaladError SAMPLE_INVALID
 */
export function* unitFloats(
  bytes: Uint8Array,
  target: Uint8Array | Uint16Array,
  max: number,
  tensor: string,
): Generator<void, void> {
  const floats = new Float32Array(FLOATS_PER_STEP);
  const copied = new Uint8Array(floats.buffer);
  for (let first = 0; first < target.length; first += FLOATS_PER_STEP) {
    const part = bytes.subarray(4 * first, 4 * (first + FLOATS_PER_STEP));
    copied.set(part);
    for (let index = 0; index < part.byteLength / 4; index++) {
      const value = floats[index]!;
      if (!(value >= 0 && value <= 1)) {
        throw SaladError.field('SAMPLE_INVALID', `inputs.${tensor}`, `FP32 must be in [0, 1], is ${value}`);
      }
      target[first + index] = Math.round(value * max);
    }
    yield;
  }
}
