/** Output tensors as the wire has them. */
import type { Datatype } from './views.js';

export interface OutputTensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  /** The elements as in `raw_output_contents`. */
  readonly data: Uint8Array;
}

/** Typed arrays are little-endian on every machine that this program runs on. */
export function tensorOf(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  { buffer, byteOffset, byteLength }: ArrayBufferView,
): OutputTensor {
  return { name, datatype, shape, data: new Uint8Array(buffer, byteOffset, byteLength) };
}

/** A tensor of BYTES: each element after its length as uint32, little-endian. */
export function bytesTensor(
  name: string,
  shape: readonly number[],
  elements: readonly Uint8Array[],
): OutputTensor {
  const parts = elements.flatMap((element) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(element.byteLength);
    return [length, element];
  });
  return { name, datatype: 'BYTES', shape, data: Buffer.concat(parts) };
}
