/** Computes the memory of a working image from its header. */
import type { Geometry } from '../../geometry/geometry.js';
import { placementOf } from '../../geometry/placement.js';
import type { InputSpec } from '../../geometry/specifications.js';
import { displayTableBytes, type PixelFormat } from '../pixel-format/pixel-format.js';
import { resamplerBytes } from './resample.js';
import { BLOCK_SAMPLES } from './row-writer.js';
import { isStreamable } from './streamable.js';

/**
 * Most bytes that a `WorkingImage` with these arguments needs, from its first pixel to the end of `complete()`.
 * @throws SaladError HEADER_INVALID where rows or columns are not whole numbers of at least 1
 */
export function workingImageBytes(
  geometry: Geometry,
  input: InputSpec,
  format: PixelFormat,
  source: 'rows' | 'tiles',
): number {
  const pixels = geometry.workingSize ** 2;
  // Percentiles need the display values of all pixels, and a copy of them that is reordered.
  const floats = isStreamable(input, format) ? 0 : pixels * (4 + 4);
  // A copy of the image before alignment, and a warped image.
  const aligned = input.alignment === undefined ? 0 : 2 * pixels;
  const whole = pixels + floats + aligned + displayTableBytes(format);
  if (source === 'tiles') return whole + geometry.coreSize * geometry.coreColumns * 4;
  const placement = placementOf(input, format.rows, format.columns);
  const resampler = resamplerBytes({
    sourceRows: format.rows,
    sourceColumns: format.columns,
    targetRows: placement.rows,
    targetColumns: placement.columns,
  });
  const block = Math.max(format.columns, Math.min(BLOCK_SAMPLES, format.rows * format.columns));
  return whole + resampler + 4 * block;
}
