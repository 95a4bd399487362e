/**
 * Checkpoints: one safetensors file, its `__metadata__` holding the counters, replaced by a rename so that a kill
 * at any moment leaves either the old or the new one.
 */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { SaladError } from '../../errors/index.js';
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

const headerSchema = z.record(
  z.string(),
  z.union([
    z.strictObject({
      dtype: z.enum(['F32', 'I32']),
      shape: z.array(count),
      data_offsets: z.tuple([count, count]),
    }),
    z.strictObject({ meta: z.string() }),
  ]),
);

/** The file's bytes: header length as u64, JSON header padded to 8 bytes, then the arrays. */
function encode({ meta, tensors }: Checkpoint): Uint8Array[] {
  const header: Record<string, unknown> = { __metadata__: { meta: JSON.stringify(meta) } };
  const arrays: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { shape, data }] of tensors) {
    const dtype = data instanceof Float32Array ? 'F32' : 'I32';
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.byteLength] };
    arrays.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    offset += data.byteLength;
  }
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(text.length + ((8 - (Buffer.byteLength(text) % 8)) % 8)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return [length, json, ...arrays];
}

function decode(bytes: Buffer): Checkpoint {
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = headerSchema.parse(JSON.parse(bytes.toString('utf8', 8, start)));
  const tensors = new Map<string, StateTensor>();
  let meta: CheckpointMeta | undefined;
  for (const [name, entry] of Object.entries(header)) {
    if ('meta' in entry) {
      meta = metaSchema.parse(JSON.parse(entry.meta));
      continue;
    }
    const [from, to] = entry.data_offsets;
    if (start + to > bytes.length) throw new RangeError(`tensor ${name} is cut off`);
    // A copy is aligned, whatever the offset in the file.
    const { buffer } = Uint8Array.from(bytes.subarray(start + from, start + to));
    tensors.set(name, {
      shape: entry.shape,
      data: entry.dtype === 'F32' ? new Float32Array(buffer) : new Int32Array(buffer),
    });
  }
  if (meta === undefined) throw new RangeError('it has no metadata');
  return { meta, tensors };
}

/** Writes the checkpoint of a directory, creating it where needed. */
export async function writeCheckpoint(directory: string, checkpoint: Checkpoint): Promise<void> {
  await mkdir(directory, { recursive: true });
  const target = path.join(directory, CHECKPOINT_FILE);
  const file = await open(`${target}.partial`, 'w');
  try {
    for (const part of encode(checkpoint)) await file.writeFile(part);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${target}.partial`, target);
}

/**
 * The checkpoint of a directory, undefined where there is none.
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
    return decode(bytes);
  } catch (error) {
    throw new SaladError('TRAINING_DATA_INVALID', `${target} is damaged; delete it to start afresh`, {
      cause: error,
    });
  }
}
