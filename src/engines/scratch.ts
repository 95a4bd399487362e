const ARRAYS = { uint8: Uint8Array, float32: Float32Array } as const;

/**
 * Scratch memory of one engine thread, reused in every run. Typed arrays lie outside V8's heap: where new ones are
 * allocated for every batch, V8 runs full garbage collections several times a second to free them.
 */
export class Scratch {
  private readonly buffers = new Map<string, ArrayBuffer>();

  /** @returns an array valid until the next call with the same name; its content is undefined. */
  array<T extends keyof typeof ARRAYS>(
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
