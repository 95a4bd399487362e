const ARRAYS = { uint8: Uint8Array, float32: Float32Array } as const;

/**
 * Memory of one engine thread that is written anew in every run and never given up. Arrays lie outside V8's heap: to
 * be rid of some that are made for every batch it collects all of its garbage several times a second.
 */
export class Scratch {
  private readonly buffers = new Map<string, ArrayBuffer>();

  /** @returns an array of that length, good until the next of the same name; what is in it is left over. */
  of<T extends keyof typeof ARRAYS>(
    name: string,
    type: T,
    length: number,
  ): InstanceType<(typeof ARRAYS)[T]> & ArrayBufferView<ArrayBuffer> {
    const ArrayOf = ARRAYS[type];
    let buffer = this.buffers.get(name);
    if (buffer === undefined || buffer.byteLength < length * ArrayOf.BYTES_PER_ELEMENT) {
      buffer = new ArrayBuffer(length * ArrayOf.BYTES_PER_ELEMENT);
      this.buffers.set(name, buffer);
    }
    return new ArrayOf(buffer, 0, length) as InstanceType<(typeof ARRAYS)[T]> & ArrayBufferView<ArrayBuffer>;
  }
}
