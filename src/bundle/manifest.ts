/** The manifest of a model bundle: everything that is not a tensor, checked before anything is loaded. */
import { z } from 'zod';
import { calibrationSchema, inputSchema, scoringSchema, tilingSchema } from '../geometry/specifications.js';
import { networkSchema } from '../network/description.js';
import { int8Schema } from '../network/int8-specification.js';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

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

export const manifestSchema = z.strictObject({
  schemaVersion: z.literal(1),
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  version: z.int().min(1),
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
export type TrainingRecord = z.infer<typeof trainingSchema>;
