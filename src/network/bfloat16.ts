/** Rounding of weights to bfloat16, which is float32 without the lower 16 bits. */

/** To the nearest, ties to even. */
export function roundToBfloat16(value: number): number {
  const float = Float32Array.of(value);
  const bits = new Uint32Array(float.buffer);
  bits[0] = ((bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) & 0xffff0000) >>> 0;
  return float[0]!;
}

/**
 * Rounds each filter so that its sum is kept: from the largest weight to the smallest, the rounding error of a weight
 * is added to the next one. Rounded one by one, the weights of an edge filter no longer sum to zero, and the filter
 * responds to constant grey as well (docs/explanation/reduced-precision.md).
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
      const exact = kernel[place]! + carried;
      out[place] = roundToBfloat16(exact);
      carried = exact - out[place]!;
    }
  }
  return out;
}
