import { SaladError } from '../../errors/index.js';

/**
 * Refuses a pixel format.
 * @param field of the header's image, in proto names
 * @throws SaladError HEADER_INVALID
 */
export function invalid(field: string, description: string): never {
  throw SaladError.field('HEADER_INVALID', `header.image.${field}`, description);
}
