/** Everything a SALAD training run can be told, checked before it starts. */
import { z } from 'zod';
import { SaladError } from '../../../errors/index.js';

export const augmentSchema = z.strictObject({
  /** Probability of a horizontal flip (the paper: 0.5; it hides laterality, so off at tile level). */
  flip: z.number().min(0).max(1),
  /** Largest shift in pixels, uniform in ±shift per axis; the border is reflected. */
  shift: z.int().min(0),
  /** Contrast factor e^u with u uniform in ±gain, about mid-grey. */
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

export const saladConfigSchema = z
  .strictObject({
    /** `tile`: a slot per tile, with overlap and patient rules; `image`: one tile per image, no such rules. */
    level: z.enum(['tile', 'image']),
    /** Channels of the stem; every halving doubles them. */
    baseWidth: z.int().min(1),
    /** Embedding size D. */
    embedding: z.int().min(2),
    /** Halvings between the (reduced) tile and the 4 x 4 feature map. */
    downs: z.int().min(1),
    /** Average-pool the tile by this factor before the stem. */
    reduction: z.int().min(1),
    /** Grey channel replicated (3, as in the paper's code) or not (1). */
    channels: z.union([z.literal(1), z.literal(3)]),
    /** A fixed random subset of this many tiles per image gets slots; null: all. */
    tilesPerImage: z.int().min(1).nullable(),
    /** Share of the slots that become anchors per round; rounds 0..trunc(1/rate). 2: round 0 alone, no anchors. */
    rate: z.number().positive().max(2),
    epochsPerRound: z.int().min(1),
    batchSize: z.int().min(8),
    learningRate: z.number().positive(),
    /** `cosine` falls to 0 over the whole run. */
    learningRateSchedule: z.enum(['constant', 'cosine']),
    /** L2 added to the gradient, as PyTorch's Adam does. */
    weightDecay: z.number().min(0),
    temperature: z.number().positive(),
    /** Memory momentum μ. */
    momentum: z.number().min(0).max(1),
    /** Neighbours per anchor, k. */
    neighbours: z.int().min(1),
    contrastWeight: z.number().min(0),
    reconstructionWeight: z.number().min(0),
    reconstruction: z.enum(['l1', 'mse']),
    augment: augmentSchema,
    /** null: full softmax over all slots; q: partition estimated from q negatives drawn per batch. */
    negatives: z.int().min(1).nullable(),
    /** `memory`: instance loss against the memory; `two-view`: in-batch, positive = a second augmented view. */
    warmup: z.enum(['memory', 'two-view']),
    /** Epochs before round 0; 0 = none, as in the paper. */
    warmupEpochs: z.int().min(0),
    /** What the slots hold when round 0 starts: random vectors, or the encoder's own in inference mode. */
    initialMemory: z.enum(['random', 'embedded']),
    /** Leave the row itself out when its entropy is taken (a deviation from the paper). */
    selfMaskedEntropy: z.boolean(),
  })
  .refine((config) => config.contrastWeight > 0 || config.reconstructionWeight > 0, {
    message: 'contrastWeight and reconstructionWeight are both 0: nothing to learn',
  });

export type SaladConfig = z.infer<typeof saladConfigSchema>;
export type AugmentConfig = z.infer<typeof augmentSchema>;

/** @throws SaladError CONFIGURATION_INVALID naming every field that is wrong. */
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
