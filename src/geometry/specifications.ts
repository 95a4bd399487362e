/** The sections of a bundle's manifest for input, grids, scoring and calibration. */
import { z } from 'zod';

const finite = z.number();

export const intensitySchema = z.discriminatedUnion('kind', [
  /** The VOI window of the header. Scoring starts with the first rows (a *streamable* bundle). */
  z.strictObject({ kind: z.literal('window') }),
  /** Percentiles of the whole working image. Scoring starts after the last row. */
  z.strictObject({
    kind: z.literal('percentile'),
    low: z.number().min(0).max(100),
    high: z.number().min(0).max(100),
  }),
]);

/**
 * The mean training image, to which a complete working image is warped before tiles are cut (src/imaging/alignment/alignment.ts).
 */
export const alignmentSchema = z.strictObject({
  kind: z.literal('affine'),
  reference: z
    .base64()
    .length(4 * Math.ceil((56 * 56) / 3))
    .describe('uint8 [56, 56] grey values, row by row, base64.'),
});

export const inputSchema = z
  .strictObject({
    workingSize: z.int().min(8).max(4096).describe('Side of the square working image in pixels.'),
    fit: z
      .enum(['stretch', 'pad'])
      .describe('`stretch` ignores the aspect ratio; `pad` keeps it and centres the image on black.'),
    intensity: intensitySchema.describe('How grey values become 8 bits.'),
    alignment: alignmentSchema
      .optional()
      .describe('Mean training image to align to. Needs the whole image, so never in a streamable bundle.'),
    orientation: z.string().describe('Orientation of the image (up and left), human-readable.'),
  })
  .refine(({ alignment, intensity }) => alignment === undefined || intensity.kind === 'percentile', {
    error: 'alignment needs the whole image: the intensity must be of percentiles',
    path: ['alignment'],
  });

export const tilingSchema = z.strictObject({
  coreSize: z.int().min(1).describe('Side of a core. The cores cover the working image without overlap.'),
  coresPerTile: z
    .int()
    .min(1)
    .optional()
    .describe(
      'Cores side by side in one tile, under one halo: a tile without its halo has coreSize rows and coresPerTile * coreSize columns. Scores do not depend on it; absent means 1, a square tile.',
    ),
  haloSize: z.int().min(0).describe('Pixels around a core that the encoder reads beyond it.'),
  patchesPerSide: z
    .int()
    .min(1)
    .describe(
      'Patches per core and side; the patch grid has (workingSize / coreSize) * patchesPerSide per side.',
    ),
  patchStride: z
    .int()
    .min(1)
    .describe('Pixels between patches. With several cores coreSize = patchesPerSide * patchStride.'),
  patchSize: z.int().min(1).describe('Side of a patch in pixels.'),
  patchOffset: z
    .int()
    .describe("First pixel of a core's first patch, relative to the core; may be negative."),
  minStd: z
    .number()
    .min(0)
    .describe(
      'A core with a standard deviation (of u8 samples) below this is background: its patches are skipped, and a tile with only such cores is not run. 0 means that no core is background.',
    ),
});

export const scoringSchema = z.strictObject({
  distance: z
    .enum(['angular', 'chord'])
    .describe(
      'Distance to one neighbour: angular = arccos(cos)/pi in [0,1]; chord = sqrt(2 - 2 cos) in [0,2].',
    ),
  form: z
    .enum(['mean', 'weighted'])
    .describe(
      'mean of the K distances, or weighted (W1 of docs/explanation/salad-method.md, section 7, softmax of cos/temperature).',
    ),
  neighbourCount: z.int().min(1).describe('K: number of nearest prototypes in the patch score.'),
  temperature: z.number().positive().describe('Temperature of the weighted form.'),
  searchRadius: z
    .int()
    .min(0)
    .nullable()
    .describe(
      'Search only prototypes at most this many patch cells away in row and column; null searches all.',
    ),
  blur: z
    .number()
    .positive()
    .max(8)
    .optional()
    .describe(
      'Standard deviation, in cells, of the Gaussian that smooths patch scores over the grid before z. Only where one tile covers the image. Absent: not smoothed.',
    ),
  edgePenalty: z
    .number()
    .min(0)
    .optional()
    .describe(
      'Subtracted from robust z, times the squared distance of the cell from the centre of the grid in half sides. Absent: 0.',
    ),
  aggregate: z.strictObject({
    topFraction: z
      .number()
      .positive()
      .max(1)
      .describe('Image score = mean of the top max(1, ceil(topFraction * n)) robust z.'),
    margin: z.int().min(0).describe('Outer rings of the patch grid left out of the image score.'),
  }),
});

export const calibrationSchema = z.strictObject({
  patchMedian: z
    .array(finite)
    .describe('Median of normal patch scores of each cell, row by row over the patch grid.'),
  patchMad: z
    .array(z.number().positive())
    .describe('Spread of normal patch scores of each cell, with a lower bound.'),
  secondView: z
    .strictObject({
      names: z
        .tuple([z.string(), z.string()])
        .describe('Of the first and the second view, such as PA and AP.'),
      weights: z
        .array(finite)
        .describe(
          'Probability of the second view = 1 / (1 + exp(-(bias + weights . mean embedding of the image))).',
        ),
      bias: finite.describe('See weights.'),
      patchMedian: z.array(finite).describe('As patchMedian above, of the second view.'),
      patchMad: z.array(z.number().positive()).describe('As patchMad above, of the second view.'),
    })
    .optional()
    .describe(
      'Where normals of two views differ: the tables above are those of the first view, and z uses medians and spreads of both, mixed by the probability of the second. Only where one tile covers the image.',
    ),
  patchZQuantiles: z
    .array(finite)
    .min(2)
    .describe('Robust z of normal patches at probabilities i/(n-1), ascending.'),
  imageScores: z
    .array(finite)
    .min(1)
    .describe(
      'Image scores of normals that neither fitted the encoder nor lie in the bank they were scored against, ascending.',
    ),
  strata: z
    .array(z.strictObject({ name: z.string(), imageScores: z.array(finite).min(1) }))
    .optional()
    .describe('Image scores of subsets of the normals: a threshold must hold in every subset as well.'),
});

export const plausibilitySchema = z.strictObject({
  regions: z
    .int()
    .min(1)
    .describe('The patch grid is cut into regions x regions; their mean embeddings describe an image.'),
  within: z
    .number()
    .positive()
    .describe('Largest distance of a plausible image within the principal directions of normals.'),
  outside: z.number().positive().describe('Largest distance outside of them.'),
  mirror: finite.describe(
    'Lowest mirror value, in standard deviations of normals; 0 is half-way to mirrored normals.',
  ),
  noise: z.number().positive().describe('Mean variance of the directions that are not kept.'),
  mirrorOffset: finite.describe('Added to the product with `mirror` of the file.'),
  reference: alignmentSchema
    .optional()
    .describe(
      'Mean training image of a model that does not align: an image whose correlation with it is below -0.3 is a negative.',
    ),
});

export type InputSpec = z.infer<typeof inputSchema>;
export type TilingSpec = z.infer<typeof tilingSchema>;
export type ScoringSpec = z.infer<typeof scoringSchema>;
export type CalibrationTables = z.infer<typeof calibrationSchema>;
export type PlausibilitySpec = z.infer<typeof plausibilitySchema>;
