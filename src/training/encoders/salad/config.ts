/** The configuration of a SALAD training run and its validation. */
import { z } from 'zod';
import { SaladError } from '../../../errors/index.js';

const augmentSchema = z.strictObject({
  /** Probability of a horizontal flip. The paper uses 0.5; 0 for tiles, because a flip hides laterality. */
  flip: z.number().min(0).max(1),
  /** Largest shift in pixels, uniform in ±shift per axis; the border is reflected. */
  shift: z.int().min(0),
  /** Contrast factor e^u with u uniform in ±gain, around mid-grey. */
  gain: z.number().min(0),
  /** Brightness added, uniform in ±offset, on the scale [-1, 1]. */
  offset: z.number().min(0),
  /** Exponent e^u with u uniform in ±gamma, on the scale [0, 1]. */
  gamma: z.number().min(0),
  /** Probability of a 3 x 3 binomial blur. */
  blur: z.number().min(0).max(1),
  /** Standard deviation of the added normal noise is uniform in [0, noise], on the scale [-1, 1]. */
  noise: z.number().min(0),
});

const saladConfigSchema = z
  .strictObject({
    /** `tile`: a memory row per tile, with rules for overlap and patients; `image`: one tile per image, no such rules. */
    level: z.enum(['tile', 'image']),
    /** Channels of the stem; every halving doubles them. */
    baseWidth: z.int().min(1),
    /** Embedding size d. */
    embedding: z.int().min(2),
    /** Halvings between the (reduced) tile and the 4 x 4 feature map. */
    downs: z.int().min(1),
    /** Factor of the average pooling of the tile before the stem; 1: none. */
    reduction: z.int().min(1),
    /** Input channels: the grey value replicated three times, as in the paper's code (3), or not (1). */
    channels: z.union([z.literal(1), z.literal(3)]),
    /** Number of tiles per image that get a memory row, a fixed random subset; null: all. */
    tilesPerImage: z.int().min(1).nullable(),
    /** Fraction of the rows that become anchors with each round; rounds 0..trunc(1/rate). 2: round 0 only, no anchors. */
    rate: z.number().positive().max(2),
    epochsPerRound: z.int().min(1),
    batchSize: z.int().min(8),
    learningRate: z.number().positive(),
    /** `cosine` falls to 0 over the whole run. */
    learningRateSchedule: z.enum(['constant', 'cosine']),
    /** L2 added to the gradient, as PyTorch's Adam does. */
    weightDecay: z.number().min(0),
    temperature: z.number().positive(),
    /** Momentum μ of the memory. */
    momentum: z.number().min(0).max(1),
    /** k, the number of neighbours per anchor. */
    neighbours: z.int().min(1),
    /** w_c. */
    contrastWeight: z.number().min(0),
    /** w_r. */
    reconstructionWeight: z.number().min(0),
    reconstruction: z.enum(['l1', 'mse']),
    augment: augmentSchema,
    /** null: softmax over all rows; q: the partition is estimated from q negatives drawn per batch. */
    negatives: z.int().min(1).nullable(),
    /** `memory`: instance loss against the memory; `two-view`: within the batch, a second augmented view is positive. */
    warmup: z.enum(['memory', 'two-view']),
    /** Epochs before round 0; 0 = none, as in the paper. */
    warmupEpochs: z.int().min(0),
    /** Content of the memory when round 0 starts: random vectors, or the embeddings of the encoder in inference mode. */
    initialMemory: z.enum(['random', 'embedded']),
    /** Leaves the row itself out of its entropy (a deviation from the paper). */
    selfMaskedEntropy: z.boolean(),
  })
  .refine((config) => config.contrastWeight > 0 || config.reconstructionWeight > 0, {
    message: 'contrastWeight and reconstructionWeight are both 0: there is no loss to minimise',
  });

export type SaladConfig = z.infer<typeof saladConfigSchema>;
export type AugmentConfig = z.infer<typeof augmentSchema>;

/** Validates a configuration. @throws SaladError CONFIGURATION_INVALID naming every invalid field */
export function parseSaladConfig(value: unknown): SaladConfig {
  const parsed = saladConfigSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const fieldViolations = parsed.error.issues.map((issue) => ({
    field: issue.path.join('.'),
    description: issue.message,
  }));
  const text = fieldViolations.map(({ field, description }) => `${field}: ${description}`).join('; ');
  throw new SaladError('CONFIGURATION_INVALID', `SALAD configuration: ${text}`, { fieldViolations });
}
