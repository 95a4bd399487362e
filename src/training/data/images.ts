/** Reads the facts of every image of a data set, so that all unreadable files are reported together, before the work. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { openImageFile } from '../../dicom/decoder/image-file.js';
import { SaladError } from '../../errors/index.js';
import type { DecodedImage } from '../../imaging/decode/decode.js';
import { listedFileReason } from './files.js';

/** Largest image that training and evaluation decode, in pixels. */
export const IMAGE_PIXELS_MAX = 64 * 1024 * 1024;
/** Images decoded at the same time. */
const CONCURRENT_IMAGES = 3;
/** Hexadecimal digits of a pixel hash. With 64 bits, two of 100,000 images share a hash with probability 3e-10. */
const HASH_DIGITS = 16;

export interface ImageFacts {
  /** Hash of the file. */
  readonly sha256: string;
  /** Hash of size, depth and grey values, 16 hexadecimal digits: equal for two files of the same picture. */
  readonly pixelHash: string;
  readonly rows: number;
  readonly columns: number;
  /** From 1; absent if the file has only one. */
  readonly frame?: number;
  /** The same for all DICOM files of a patient; only for grouping, never written (src/dicom/instance.ts). */
  readonly patientKey?: string;
}

/** SHA-256 over size, depth and grey values, the first 16 hexadecimal digits. */
function pixelHashOf({ rows, columns, bitsAllocated, samples }: DecodedImage): string {
  return createHash('sha256')
    .update(`${rows} ${columns} ${bitsAllocated}\n`)
    .update(samples)
    .digest('hex')
    .slice(0, HASH_DIGITS);
}

/** Facts of every frame of a file. */
async function readFacts(path: string, signal: AbortSignal | undefined): Promise<readonly ImageFacts[]> {
  const bytes = await readFile(path);
  const file = await openImageFile(bytes, { maxPixels: IMAGE_PIXELS_MAX, signal });
  try {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const patientKey = file.dicom?.patientKey;
    const facts: ImageFacts[] = [];
    for (let index = 0; index < file.frames; index += 1) {
      const decoded = await file.frame(index, signal);
      const { rows, columns } = decoded;
      facts.push({
        ...{ sha256, pixelHash: pixelHashOf(decoded), rows, columns },
        ...(file.frames === 1 ? {} : { frame: index + 1 }),
        ...(patientKey === undefined ? {} : { patientKey }),
      });
    }
    return facts;
  } finally {
    file.close();
  }
}

/** The reason why a file could not be read, without the words that are the same for every file. */
function reasonOf(error: unknown): string {
  if (error instanceof SaladError) return error.message.replace('the image cannot be decoded: ', '');
  return listedFileReason(error);
}

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Reads and decodes every file.
 * @returns per file, in order: the facts of its frames, or the reason why it cannot be read or decoded
 * @throws SaladError CANCELLED
 */
export async function readImageFacts(
  paths: readonly string[],
  { signal, onProgress }: ReadOptions = {},
): Promise<readonly (readonly ImageFacts[] | string)[]> {
  const results = new Array<readonly ImageFacts[] | string>(paths.length);
  let next = 0;
  let done = 0;
  const readRemaining = async (): Promise<void> => {
    while (next < paths.length) {
      if (signal?.aborted) throw new SaladError('CANCELLED', 'reading the data was interrupted');
      const index = next++;
      results[index] = await readFacts(paths[index]!, signal).catch(reasonOf);
      done += 1;
      onProgress?.(done, paths.length);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENT_IMAGES }, readRemaining));
  return results;
}
