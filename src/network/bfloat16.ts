/** Weights for kernels that multiply bfloat16: float32 with the lower 16 bits gone. */

/** To the nearest, ties to even. */
export function roundToBfloat16(value: number): number {
  const float = Float32Array.of(value);
  const bits = new Uint32Array(float.buffer);
  bits[0] = ((bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) & 0xffff0000) >>> 0;
  return float[0]!;
}

/**
 * Rounds filters so that the sum of each stays: from the largest weight to the smallest, each takes over what
 * rounding did to the ones before. Rounded one by one, a filter that answers to edges answers to plain grey as well:
 * on a phantom's flat areas that is most of what there is (docs/explanation/reduced-precision.md).
 * @param kernel float32 [height, width, inChannels, filters]
 */
export function roundFilters(kernel: Float32Array, filters: number): Float32Array {
  const out = new Float32Array(kernel.length);
  const taps = Array.from({ length: kernel.length / filters }, (_, tap) => tap * filters);
  for (let filter = 0; filter < filters; filter++) {
    const places = taps.map((tap) => tap + filter);
    places.sort((a, b) => Math.abs(kernel[b]!) - Math.abs(kernel[a]!));
    let carried = 0;
    for (const place of places) {
      const wanted = kernel[place]! + carried;
      out[place] = roundToBfloat16(wanted);
      carried = wanted - out[place]!;
    }
  }
  return out;
}
