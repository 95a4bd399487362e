/** The types of headers and options that callers pass. */
import type { AcquisitionHeader, DeepPartial, ModelSelector } from '../../../src/gen/salad/v1/types.js';

/**
 * The header of an acquisition. `acquisitionId` and `model` are required. `image` is required for rows, tiles and raw
 * images; an encoded file contains this information. Other fields have the defaults of proto/salad/v1/types.proto.
 */
export interface AcquisitionHeaderInput
  extends Omit<DeepPartial<AcquisitionHeader>, 'acquisitionId' | 'model'> {
  /** Identifier of the acquisition, chosen by the caller and repeated in the answers. 1 to 64 characters. */
  acquisitionId: string;
  model: ModelSelector;
}

/** Size and pixel format of an image; fields with a default are optional. */
export type ImageFormatInput = NonNullable<AcquisitionHeaderInput['image']>;

/** Requested results and the rule of the decision; fields with a default are optional. */
export type ScoringOptionsInput = NonNullable<AcquisitionHeaderInput['options']>;
