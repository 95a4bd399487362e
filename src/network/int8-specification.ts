/** The int8 form of an encoder, as a bundle's manifest holds it. */
import { z } from 'zod';

const finite = z.number();

/** The int8 form of the encoder, for engines that have integer kernels; absent where int8 gains nothing. */
export const int8Schema = z.strictObject({
  ranges: z
    .record(z.string(), z.strictObject({ low: finite, high: finite }))
    .describe(
      'Node of the network of `int8Network` → the range of its output that uint8 covers; values outside are clipped. A convolution with a range for its input and its output runs in int8, with int8 weights per output channel.',
    ),
  goldenTolerance: z
    .number()
    .positive()
    .describe('Largest absolute difference to the float32 golden scores.'),
});

export type Int8Spec = z.infer<typeof int8Schema>;
