/** Decides whether tiles of an image can be scored before its last pixel. */
import type { InputSpec } from '../../geometry/specifications.js';
import type { PixelFormat } from '../pixel-format/pixel-format.js';

/** True where neither percentiles nor an alignment need the whole image. */
export function isStreamable(input: InputSpec, format: PixelFormat): boolean {
  return input.intensity.kind === 'window' && format.voi.kind !== 'auto' && input.alignment === undefined;
}
