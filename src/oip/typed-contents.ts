/** Decodes the elements of a tensor from an encoded InferTensorContents, straight into an array of the tensor's size. */
import { SaladError } from '../errors/index.js';

/** The array that holds the elements of a data type. */
export interface TypedArrays {
  readonly UINT8: Uint8Array;
  readonly UINT16: Uint16Array;
  readonly INT16: Int16Array;
  readonly INT32: Int32Array;
  readonly FP32: Float32Array;
}
export type NumberType = keyof TypedArrays;

const ARRAYS = {
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  INT16: Int16Array,
  INT32: Int32Array,
  FP32: Float32Array,
} as const;

/** Field of InferTensorContents, and the range of its values. */
const FIELDS: Readonly<Record<NumberType, readonly [field: number, min: number, max: number]>> = {
  UINT8: [4, 0, 255],
  UINT16: [4, 0, 65_535],
  INT16: [2, -32_768, 32_767],
  INT32: [2, -(2 ** 31), 2 ** 31 - 1],
  FP32: [6, 0, 0],
};
const FIELD_NAMES = [
  ...['', 'bool_contents', 'int_contents', 'int64_contents', 'uint_contents', 'uint64_contents'],
  ...['fp32_contents', 'fp64_contents', 'bytes_contents'],
];
const BYTES_FIELD = 8;

const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;
/** Elements that are decoded in one step: a fraction of a millisecond. */
const STEP = 32_768;

export const bytesPerElement = (type: NumberType): number => ARRAYS[type].BYTES_PER_ELEMENT;

/**
 * The elements of a tensor, in steps.
 * @param contents an encoded InferTensorContents
 * @param tensor its name, for errors
 * @param count elements that its shape announces
 * @throws SaladError TENSOR_INVALID, SAMPLE_COUNT_MISMATCH, MESSAGE_INVALID
 */
export function* typedElements<T extends NumberType>(
  contents: Uint8Array,
  type: T,
  tensor: string,
  count: number,
): Generator<void, TypedArrays[T]> {
  const leastBytes = type === 'FP32' ? 4 : 1;
  // Before the array is made: a short message may announce a large tensor.
  if (contents.byteLength < count * leastBytes) throw countError(tensor, count, 'fewer');
  const [field, min, max] = FIELDS[type];
  const target = new ARRAYS[type](count);
  const reader = new ElementReader(contents);
  let length = 0;
  while (!reader.isAtEnd) {
    const { isPacked, end } = reader.nextRun(field, tensor);
    while (reader.position < end) {
      const value = type === 'FP32' ? reader.float() : reader.varint();
      if (length === count) throw countError(tensor, count, 'more');
      if (type !== 'FP32' && (value < min || value > max)) {
        const why = `${value} is no value of ${type}`;
        throw SaladError.field('TENSOR_INVALID', `inputs.${tensor}`, why);
      }
      target[length++] = value;
      if (length % STEP === 0) yield;
    }
    if (isPacked && reader.position !== end) throw malformed();
  }
  if (length < count) throw countError(tensor, count, 'fewer');
  return target as TypedArrays[T];
}

/** The elements of a BYTES tensor: views. @throws SaladError as `typedElements` */
export function typedBytes(contents: Uint8Array, tensor: string, count: number): Uint8Array[] {
  const elements: Uint8Array[] = [];
  const reader = new ElementReader(contents);
  while (!reader.isAtEnd) {
    const { end } = reader.nextRun(BYTES_FIELD, tensor);
    elements.push(contents.subarray(reader.position, end));
    reader.position = end;
    if (elements.length > count) throw countError(tensor, count, 'more');
  }
  if (elements.length < count) throw countError(tensor, count, 'fewer');
  return elements;
}

function countError(tensor: string, count: number, difference: string): SaladError {
  const why = `contents have ${difference} than the ${count} elements of the shape`;
  return SaladError.field('SAMPLE_COUNT_MISMATCH', `inputs.${tensor}`, why);
}

class ElementReader {
  position = 0;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get isAtEnd(): boolean {
    return this.position >= this.bytes.byteLength;
  }

  /** Reads a tag: the elements from here to `end` are of `field`. */
  nextRun(field: number, tensor: string): { readonly isPacked: boolean; readonly end: number } {
    const tag = this.varint();
    const [itsField, wireType] = [tag >> 3, tag & 7];
    if (itsField !== field) {
      const why = `the elements must be in ${FIELD_NAMES[field]}, not in ${FIELD_NAMES[itsField] ?? itsField}`;
      throw SaladError.field('TENSOR_INVALID', `inputs.${tensor}`, why);
    }
    const single = field === 6 ? FIXED32 : VARINT;
    if (wireType === single && field !== BYTES_FIELD) return { isPacked: false, end: this.position + 1 };
    if (wireType !== LENGTH_DELIMITED) throw malformed();
    const length = this.varint();
    const end = this.position + length;
    if (length < 0 || end > this.bytes.byteLength) throw malformed();
    return { isPacked: true, end };
  }

  /** The low 32 bits of a varint, as a signed number. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.bytes[this.position++];
      if (byte === undefined) throw malformed();
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw malformed();
  }

  float(): number {
    const { position } = this;
    if (position + 4 > this.bytes.byteLength) throw malformed();
    this.position += 4;
    return this.view.getFloat32(position, true);
  }
}

function malformed(): SaladError {
  return new SaladError('MESSAGE_INVALID', 'the contents of a tensor cannot be decoded');
}
