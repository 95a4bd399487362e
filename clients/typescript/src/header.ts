/** What callers give as header of an acquisition. */
import type { AcquisitionHeader, DeepPartial, ModelSelector } from '../../../src/gen/salad/v1/types.js';

/**
 * The header of an acquisition: `acquisitionId` and `model` are required, everything else may be left out and then
 * has the default that proto/salad/v1/types.proto gives. `image` is required for rows, tiles and raw images; an
 * encoded file brings its own.
 */
export interface AcquisitionHeaderInput
  extends Omit<DeepPartial<AcquisitionHeader>, 'acquisitionId' | 'model'> {
  /** The caller's own identifier of the acquisition, echoed in the answers. 1 to 64 characters. */
  acquisitionId: string;
  model: ModelSelector;
}

/** Geometry and pixel semantics of an image; fields with a default may be left out. */
export type ImageFormatInput = NonNullable<AcquisitionHeaderInput['image']>;

/** What the caller wants back, and how the decision is made; fields with a default may be left out. */
export type ScoringOptionsInput = NonNullable<AcquisitionHeaderInput['options']>;
