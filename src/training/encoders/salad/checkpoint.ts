/**
 * Writes and reads checkpoints. A checkpoint is one safetensors file that includes the counters. It is replaced by a
 * rename, so that a process that is killed at any moment leaves either the old or the new checkpoint.
 */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { decodeSafetensors, encodeSafetensors, type StoredTensor } from '../../../bundle/safetensors.js';
import { SaladError } from '../../../errors/index.js';
import type { Checkpoint, CheckpointMeta, StateTensor } from './run-state.js';

export const CHECKPOINT_FILE = 'checkpoint.safetensors';

const count = z.int().min(0);
const metaSchema = z.strictObject({
  formatVersion: z.literal(1),
  configSha256: z.string(),
  dataSha256: z.string(),
  seed: z.int(),
  backend: z.string(),
  epoch: count,
  step: count,
  adamStep: count,
  sums: z.strictObject({ steps: count, loss: z.number(), contrast: z.number(), reconstruction: z.number() }),
  history: z.array(
    z.strictObject({
      epoch: count,
      phase: z.enum(['warmup', 'round']),
      round: z.int(),
      contrast: z.enum(['two-view', 'memory']),
      steps: count,
      loss: z.number(),
      contrastLoss: z.number(),
      reconstructionLoss: z.number().nullable(),
      anchors: count,
    }),
  ),
});

/** Name of the tensor that holds the counters as JSON, in the same file, so that one rename replaces everything. */
const META = 'meta';

function encode({ meta, tensors }: Checkpoint): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(meta));
  const stored = new Map<string, StoredTensor>([[META, { dtype: 'U8', shape: [json.length], data: json }]]);
  for (const [name, { shape, data }] of tensors) {
    stored.set(
      name,
      data instanceof Float32Array ? { dtype: 'F32', shape, data } : { dtype: 'I32', shape, data },
    );
  }
  return encodeSafetensors(stored);
}

function decode(bytes: Uint8Array, file: string): Checkpoint {
  const tensors = new Map<string, StateTensor>();
  let meta: CheckpointMeta | undefined;
  for (const [name, { shape, data }] of decodeSafetensors(bytes, file)) {
    if (!(data instanceof Uint8Array)) tensors.set(name, { shape, data });
    else if (name === META) meta = metaSchema.parse(JSON.parse(new TextDecoder().decode(data)));
  }
  if (meta === undefined || !tensors.has('memory'))
    throw new RangeError('no counters or no memory in the file');
  return { meta, tensors };
}

/** Writes the checkpoint of a directory; creates the directory if it does not exist. */
export async function writeCheckpoint(directory: string, checkpoint: Checkpoint): Promise<void> {
  await mkdir(directory, { recursive: true });
  const target = path.join(directory, CHECKPOINT_FILE);
  const file = await open(`${target}.partial`, 'w');
  try {
    await file.writeFile(encode(checkpoint));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${target}.partial`, target);
}

/**
 * Reads the checkpoint of a directory; undefined where there is none.
 *
 * @throws SaladError TRAINING_DATA_INVALID where the file is damaged
 */
export async function readCheckpoint(directory: string): Promise<Checkpoint | undefined> {
  const target = path.join(directory, CHECKPOINT_FILE);
  let bytes: Buffer;
  try {
    bytes = await readFile(target);
  } catch (error) {
    if (error instanceof Error && Reflect.get(error, 'code') === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return decode(bytes, target);
  } catch (error) {
    throw new SaladError('TRAINING_DATA_INVALID', `${target} is damaged: delete it to train from the start`, {
      cause: error,
    });
  }
}
