/** The manifest of a model bundle: everything that is not a tensor, checked before anything is loaded. */
import { z } from 'zod';
import { networkSchema } from '../network/description.js';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const finite = z.number();

export const intensitySchema = z.discriminatedUnion('kind', [
  /** The header's VOI decides; scoring starts at once (a *streamable* bundle). */
  z.strictObject({ kind: z.literal('window') }),
  /** Stretch by percentiles of the whole working image: nothing is ready before the last row. */
  z.strictObject({
    kind: z.literal('percentile'),
    low: z.number().min(0).max(100),
    high: z.number().min(0).max(100),
  }),
]);

/** The mean training image, to which a complete working image is warped before it is cut (src/imaging/alignment.ts). */
export const alignmentSchema = z.strictObject({
  kind: z.literal('affine'),
  /** uint8 [56, 56] grey values, row by row, base64. */
  reference: z.base64().length(4 * Math.ceil((56 * 56) / 3)),
});

export const inputSchema = z
  .strictObject({
    /** Side of the square working image in pixels. */
    workingSize: z.int().min(8).max(4096),
    /** `stretch` ignores the aspect ratio; `pad` keeps it and centres the image on black. */
    fit: z.enum(['stretch', 'pad']),
    intensity: intensitySchema,
    /** Needs the whole image, so never in a streamable bundle; absent = the image is taken as it lies. */
    alignment: alignmentSchema.optional(),
    /** For people: which way up and which side left. */
    orientation: z.string(),
  })
  .refine(({ alignment, intensity }) => alignment === undefined || intensity.kind === 'percentile', {
    error: 'alignment needs the whole image: the intensity must be of percentiles',
    path: ['alignment'],
  });

export const tilingSchema = z.strictObject({
  /** Side of a core. The cores cover the working image without overlap. */
  coreSize: z.int().min(1),
  /**
   * Cores side by side in one tile, under one halo: a tile without its halo has coreSize rows and
   * coresPerTile * coreSize columns. Scores do not depend on it; absent = 1, a square tile.
   */
  coresPerTile: z.int().min(1).optional(),
  haloSize: z.int().min(0),
  /** Patches per core and side; the patch grid has (workingSize / coreSize) * patchesPerSide per side. */
  patchesPerSide: z.int().min(1),
  /** Pixels between patches. With several cores coreSize = patchesPerSide * patchStride. */
  patchStride: z.int().min(1),
  patchSize: z.int().min(1),
  /** First pixel of a core's first patch, relative to the core; may be negative. */
  patchOffset: z.int(),
  /**
   * A core with a standard deviation (of u8 samples) below this is background: its patches are skipped, and a tile
   * of nothing else is not run. 0 = never.
   */
  minStd: z.number().min(0),
});

export const scoringSchema = z.strictObject({
  /** Of one neighbour: angular = arccos(cos)/pi in [0,1]; chord = sqrt(2 - 2 cos) in [0,2]. */
  distance: z.enum(['angular', 'chord']),
  /** mean of the K distances, or weighted (W1 of salad.md section 7, softmax of cos/temperature). */
  form: z.enum(['mean', 'weighted']),
  neighbourCount: z.int().min(1),
  temperature: z.number().positive(),
  /** Search only prototypes at most this many patch cells away in row and column; null searches all. */
  searchRadius: z.int().min(0).nullable(),
  aggregate: z.strictObject({
    /** Image score = mean of the top max(1, ceil(topFraction * n)) robust z. */
    topFraction: z.number().positive().max(1),
    /** Outer rings of the patch grid left out of the image score. */
    margin: z.int().min(0),
  }),
});

export const calibrationSchema = z.strictObject({
  /** Robust location and scale of normal patch scores per cell, row by row over the patch grid. */
  patchMedian: z.array(finite),
  /** Median absolute deviation, floored so that no cell divides by almost nothing. */
  patchMad: z.array(z.number().positive()),
  /** Robust z of normal patches at probabilities i/(n-1), ascending. */
  patchZQuantiles: z.array(finite).min(2),
  /** Image scores of held-out normals, ascending (half B of salad.md section 8). */
  imageScores: z.array(finite).min(1),
  /**
   * Image scores of parts of them, ascending: a threshold must hold in every part as well. Absent: in all of them
   * together.
   */
  strata: z.array(z.strictObject({ name: z.string(), imageScores: z.array(finite).min(1) })).optional(),
});

export const trainingSchema = z.strictObject({
  preset: z.string(),
  seed: z.int(),
  engine: z.string(),
  saladServe: z.string(),
  command: z.string(),
  images: z.strictObject({ fit: z.int(), validation: z.int() }),
  /** SHA-256 over the sorted SHA-256 of all training files. */
  dataSha256: sha256,
  /** Ids (file names) of the fit images; memory-bank rows refer to them by index. */
  sourceImages: z.array(z.string()),
  notes: z.array(z.string()),
});

/** The int8 form of the encoder, for engines that have integer kernels; absent where int8 gains nothing. */
export const int8Schema = z.strictObject({
  /**
   * Node → the values that uint8 spans of its output (outside, they are clipped). A convolution whose input and
   * output are here is run in int8, with int8 weights per output channel. Of the network of `int8Network`.
   */
  ranges: z.record(z.string(), z.strictObject({ low: finite, high: finite })),
  /** Largest absolute difference to the float32 golden scores. */
  goldenTolerance: z.number().positive(),
});

/** The wire has 32 bits for a version. */
export const VERSION_MAX = 2 ** 32 - 1;

/** Of a model, and of its folder. */
export const modelNameSchema = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/);

export const manifestSchema = z.strictObject({
  schemaVersion: z.literal(1),
  name: modelNameSchema,
  version: z.int().min(1).max(VERSION_MAX),
  description: z.string(),
  input: inputSchema,
  tiling: tilingSchema,
  network: networkSchema,
  scoring: scoringSchema,
  bank: z.strictObject({ rows: z.int().min(1), dimension: z.int().min(1) }),
  calibration: calibrationSchema,
  training: trainingSchema,
  /** Largest absolute score difference an engine may show on the golden batch. */
  goldenTolerance: z.number().positive(),
  int8: int8Schema.optional(),
  files: z.record(z.string(), z.strictObject({ sha256, bytes: z.int().min(0) })),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type InputSpec = z.infer<typeof inputSchema>;
export type TilingSpec = z.infer<typeof tilingSchema>;
export type ScoringSpec = z.infer<typeof scoringSchema>;
export type CalibrationTables = z.infer<typeof calibrationSchema>;
export type Int8Spec = z.infer<typeof int8Schema>;
export type TrainingRecord = z.infer<typeof trainingSchema>;
