/**
 * The safetensors format: 8 bytes little-endian header length, a JSON header, then the tensors' bytes.
 * Only the types a bundle needs: F32, F16 (decoded to float32), I32 and U8. Host byte order must be little-endian.
 */
import { SaladError } from '../errors/index.js';
import { float16ToFloat32, float32ToFloat16 } from '../network/float16.js';

export type StoredTensor =
  | { readonly dtype: 'F32'; readonly shape: readonly number[]; readonly data: Float32Array }
  | { readonly dtype: 'F16'; readonly shape: readonly number[]; readonly data: Float32Array }
  | { readonly dtype: 'I32'; readonly shape: readonly number[]; readonly data: Int32Array }
  | { readonly dtype: 'U8'; readonly shape: readonly number[]; readonly data: Uint8Array };

const ELEMENT_BYTES = { F32: 4, I32: 4, F16: 2, U8: 1 } as const;
/** Key of the texts in the header that describe no tensor. */
const METADATA = '__metadata__';
/** A header only lists tensors; a larger one means a broken file. */
const HEADER_BYTES_MAX = 1 << 20;

function invalid(file: string, message: string): SaladError {
  return new SaladError('BUNDLE_INVALID', `${file}: ${message}`);
}

function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function encodeTensor(tensor: StoredTensor): Uint8Array {
  const data = tensor.dtype === 'F16' ? Uint16Array.from(tensor.data, float32ToFloat16) : tensor.data;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Widest types first, so that every tensor starts at a multiple of its element's size. */
export function encodeSafetensors(tensors: ReadonlyMap<string, StoredTensor>): Uint8Array {
  const ordered = [...tensors].sort(([, a], [, b]) => ELEMENT_BYTES[b.dtype] - ELEMENT_BYTES[a.dtype]);
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = {};
  let offset = 0;
  for (const [name, { dtype, shape, data }] of ordered) {
    const end = offset + data.length * ELEMENT_BYTES[dtype];
    header[name] = { dtype, shape: [...shape], data_offsets: [offset, end] };
    offset = end;
  }
  const json = JSON.stringify(header);
  const text = new TextEncoder().encode(json.padEnd(Math.ceil(json.length / 8) * 8));
  const bytes = new Uint8Array(8 + text.length + offset);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  let at = 8 + text.length;
  for (const [, tensor] of ordered) {
    const encoded = encodeTensor(tensor);
    bytes.set(encoded, at);
    at += encoded.length;
  }
  return bytes;
}

function decodeTensor(file: string, name: string, entry: unknown, body: Uint8Array): StoredTensor {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  const whole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!(typeof dtype === 'string' && dtype in ELEMENT_BYTES)) {
    throw invalid(file, `tensor ${name} has type ${String(dtype)}; F32, F16, I32 and U8 are read`);
  }
  if (!(Array.isArray(shape) && shape.every(whole) && Array.isArray(offsets) && offsets.every(whole))) {
    throw invalid(file, `tensor ${name} has no proper shape or offsets`);
  }
  const type = dtype as keyof typeof ELEMENT_BYTES;
  const [start = 0, end = 0] = offsets as number[];
  if (end > body.length || end - start !== elementCount(shape) * ELEMENT_BYTES[type]) {
    throw invalid(file, `the bytes of tensor ${name} do not fit its shape or the file`);
  }
  const bytes = body.subarray(start, end);
  if (type === 'U8') return { dtype: type, shape, data: bytes };
  if (type === 'F16') return { dtype: type, shape, data: halvesToFloats(alignedTo(2, bytes)) };
  const { buffer, byteOffset, byteLength } = alignedTo(4, bytes);
  if (type === 'I32') return { dtype: type, shape, data: new Int32Array(buffer, byteOffset, byteLength / 4) };
  return { dtype: type, shape, data: new Float32Array(buffer, byteOffset, byteLength / 4) };
}

/** Allocates shared memory where `bytes` is in shared memory, else memory of this thread. */
function allocateLike({ buffer }: Uint8Array, length: number): ArrayBufferLike {
  return buffer instanceof SharedArrayBuffer ? new SharedArrayBuffer(length) : new ArrayBuffer(length);
}

/** The bytes themselves, or a copy where they do not start at a multiple of `size`. */
function alignedTo(size: number, bytes: Uint8Array): Uint8Array {
  if (bytes.byteOffset % size === 0) return bytes;
  const copy = new Uint8Array(allocateLike(bytes, bytes.length));
  copy.set(bytes);
  return copy;
}

function halvesToFloats(bytes: Uint8Array): Float32Array {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const floats = new Float32Array(allocateLike(bytes, halves.length * Float32Array.BYTES_PER_ELEMENT));
  for (let index = 0; index < halves.length; index++) floats[index] = float16ToFloat32(halves[index]!);
  return floats;
}

/**
 * Aligned tensors of F32, I32 and U8 are views of `bytes`; all others are copies, in shared memory where `bytes` is.
 * @param file name for messages.
 * @throws SaladError BUNDLE_INVALID where the bytes are not safetensors or hold another type.
 */
export function decodeSafetensors(bytes: Uint8Array, file: string): ReadonlyMap<string, StoredTensor> {
  const { header, length } = decodeHeader(bytes, file);
  const body = new Uint8Array(bytes.buffer, bytes.byteOffset + 8 + length, bytes.length - 8 - length);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name !== METADATA) tensors.set(name, decodeTensor(file, name, entry, body));
  }
  return tensors;
}

/**
 * The texts that a writer added to the header, by key; empty where it added none.
 * @throws SaladError BUNDLE_INVALID where the bytes are not safetensors.
 */
export function safetensorsMetadata(bytes: Uint8Array, file: string): Readonly<Record<string, unknown>> {
  return (decodeHeader(bytes, file).header[METADATA] ?? {}) as Record<string, unknown>;
}

/** @returns the header and its length in bytes, which the tensors follow. */
function decodeHeader(
  bytes: Uint8Array,
  file: string,
): { readonly header: Readonly<Record<string, unknown>>; readonly length: number } {
  if (bytes.length < 8) throw invalid(file, 'shorter than a safetensors header');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  if (length > HEADER_BYTES_MAX || 8 + length > bytes.length) throw invalid(file, 'header length is wrong');
  let header: unknown;
  try {
    // A copy: a text decoder may refuse shared memory.
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.slice(8, 8 + length)));
  } catch (error) {
    throw new SaladError('BUNDLE_INVALID', `${file}: header is not JSON`, { cause: error });
  }
  if (typeof header !== 'object' || header === null) throw invalid(file, 'header is not an object');
  return { header: header as Record<string, unknown>, length };
}
