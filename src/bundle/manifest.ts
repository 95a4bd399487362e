/** The schema of a bundle's manifest, which holds everything but tensors. */
import { z } from 'zod';
import {
  calibrationSchema,
  inputSchema,
  plausibilitySchema,
  scoringSchema,
  tilingSchema,
} from '../geometry/specifications.js';
import { networkSchema } from '../network/description.js';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const pixelHash = z.string().regex(/^[0-9a-f]{16}$/);

export const trainingSchema = z.strictObject({
  preset: z.string().describe('Training preset.'),
  seed: z.int().describe('Seed of every random choice.'),
  engine: z.string().describe('Engine that computed the embeddings.'),
  saladServe: z.string().describe('Version of the program.'),
  command: z.string().describe('The command that made the bundle.'),
  images: z
    .strictObject({
      fit: z.int().describe('Images that fitted the encoder and the bank.'),
      validation: z.int().describe('Images that calibrated.'),
    })
    .describe('Numbers of images.'),
  dataSha256: sha256.describe('SHA-256 over the sorted SHA-256 of all training files.'),
  sourceImages: z
    .array(z.string())
    .describe('File names of the fit images; memory-bank rows refer to them by index.'),
  pixelHashes: z
    .array(pixelHash)
    .optional()
    .describe(
      'Pixels of every image that fitted or calibrated: the first 16 hexadecimal digits of a SHA-256 over size, depth and grey values, ascending. Absent in older bundles.',
    ),
  calibrationPixelHashes: z
    .array(pixelHash)
    .optional()
    .describe('The same of the normals that `salad calibrate` took later.'),
  notes: z.array(z.string()).describe('Sentences for the model card.'),
});

/** A version has 32 bits in the protocol. */
export const VERSION_MAX = 2 ** 32 - 1;

/** Name of a model and of its folder. */
export const modelNameSchema = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/);

export const manifestSchema = z.strictObject({
  schemaVersion: z.literal(1).describe('Version of this format.'),
  name: modelNameSchema.describe('Name of the model; its folder has the same name.'),
  version: z.int().min(1).max(VERSION_MAX).describe('Version of the model; its folder has the same name.'),
  description: z.string().describe('One sentence, human-readable.'),
  input: inputSchema,
  tiling: tilingSchema,
  network: networkSchema,
  scoring: scoringSchema,
  bank: z
    .strictObject({
      rows: z.int().min(1).describe('Prototypes.'),
      dimension: z.int().min(1).describe('Values of an embedding.'),
    })
    .describe('Size of the memory bank.'),
  calibration: calibrationSchema,
  plausibility: plausibilitySchema
    .optional()
    .describe(
      'Recognises images of a kind that the model does not know; with the tensors of plausibility.safetensors.',
    ),
  training: trainingSchema,
  goldenTolerance: z
    .number()
    .positive()
    .describe('Largest absolute score difference an engine may show on the golden batch.'),
  int8: z.unknown().optional().describe('Of bundles of older versions; not used.'),
  files: z
    .record(z.string(), z.strictObject({ sha256, bytes: z.int().min(0) }))
    .describe('SHA-256 and length of every other file of the bundle.'),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type TrainingRecord = z.infer<typeof trainingSchema>;
