/** The int8 form of an encoder, as a bundle's manifest holds it. */
import { z } from 'zod';

const finite = z.number();

/** The int8 form of the encoder, for engines that have integer kernels; absent where int8 gains nothing. */
export const int8Schema = z.strictObject({
  ranges: z
    .record(z.string(), z.strictObject({ low: finite, high: finite }))
    .describe(
      'Node → the values that uint8 spans of its output (outside, they are clipped). A convolution whose input and output are here is run in int8, with int8 weights per output channel. Of the network of `int8Network`.',
    ),
  goldenTolerance: z
    .number()
    .positive()
    .describe('Largest absolute difference to the float32 golden scores.'),
});

export type Int8Spec = z.infer<typeof int8Schema>;
