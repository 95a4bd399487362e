/**
 * The safetensors format: 8 bytes little-endian header length, a JSON header, then the tensors' bytes.
 * Only the types a bundle needs: F32, F16 (decoded to float32), I32 and U8.
 */
import { SaladError } from '../errors/index.js';
import { float16ToFloat32, float32ToFloat16 } from '../network/float16.js';

export type StoredTensor =
  | { readonly dtype: 'F32'; readonly shape: readonly number[]; readonly data: Float32Array }
  | { readonly dtype: 'F16'; readonly shape: readonly number[]; readonly data: Float32Array }
  | { readonly dtype: 'I32'; readonly shape: readonly number[]; readonly data: Int32Array }
  | { readonly dtype: 'U8'; readonly shape: readonly number[]; readonly data: Uint8Array };

const BYTES = { F32: 4, I32: 4, F16: 2, U8: 1 } as const;
/** A header names tensors only; more than this is a broken file. */
const MAX_HEADER_BYTES = 1 << 20;

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
  const ordered = [...tensors].sort(([, a], [, b]) => BYTES[b.dtype] - BYTES[a.dtype]);
  const header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = {};
  let offset = 0;
  for (const [name, { dtype, shape, data }] of ordered) {
    const end = offset + data.length * BYTES[dtype];
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
  if (!(typeof dtype === 'string' && dtype in BYTES)) {
    throw invalid(file, `tensor ${name} has type ${String(dtype)}; F32, F16, I32 and U8 are read`);
  }
  if (!(Array.isArray(shape) && shape.every(whole) && Array.isArray(offsets) && offsets.every(whole))) {
    throw invalid(file, `tensor ${name} has no proper shape or offsets`);
  }
  const type = dtype as keyof typeof BYTES;
  const [start = 0, end = 0] = offsets as number[];
  if (end > body.length || end - start !== elementCount(shape) * BYTES[type]) {
    throw invalid(file, `the bytes of tensor ${name} do not fit its shape or the file`);
  }
  // A copy starts at offset 0 of its own buffer: any element type may view it. (A Buffer's slice would not copy.)
  const { buffer } = new Uint8Array(body.subarray(start, end));
  if (type === 'U8') return { dtype: type, shape, data: new Uint8Array(buffer) };
  if (type === 'I32') return { dtype: type, shape, data: new Int32Array(buffer) };
  if (type === 'F32') return { dtype: type, shape, data: new Float32Array(buffer) };
  return { dtype: type, shape, data: Float32Array.from(new Uint16Array(buffer), float16ToFloat32) };
}

/**
 * @param file name for messages.
 * @throws SaladError BUNDLE_INVALID where the bytes are not safetensors or hold another type.
 */
export function decodeSafetensors(bytes: Uint8Array, file: string): ReadonlyMap<string, StoredTensor> {
  if (bytes.length < 8) throw invalid(file, 'shorter than a safetensors header');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES || 8 + length > bytes.length) throw invalid(file, 'header length is wrong');
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, 8 + length)));
  } catch (error) {
    throw new SaladError('BUNDLE_INVALID', `${file}: header is not JSON`, { cause: error });
  }
  if (typeof header !== 'object' || header === null) throw invalid(file, 'header is not an object');
  const body = bytes.subarray(8 + length);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name !== '__metadata__') tensors.set(name, decodeTensor(file, name, entry, body));
  }
  return tensors;
}
