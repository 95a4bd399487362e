/** Opens every image of a data set once, so that all unreadable files are reported together and before the work. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { openImageFile } from '../../dicom/decoder/image-file.js';
import { SaladError } from '../../errors/index.js';
import type { DecodedImage } from '../../imaging/decode.js';
import { systemReason } from './files.js';

/** Largest image training and evaluation decode, in pixels. */
export const IMAGE_PIXELS_MAX = 64 * 1024 * 1024;
/** Images decoded at the same time. */
const AT_ONCE = 3;
/** Hexadecimal digits kept of a pixel hash. With 64 bits two of 100,000 images share a hash with probability 3e-10. */
const HASH_DIGITS = 16;

export interface ImageFacts {
  /** Of the file. */
  readonly sha256: string;
  /** Of size, depth and grey values, 16 hexadecimal digits: equal for two files of the same picture. */
  readonly pixelHash: string;
  readonly rows: number;
  readonly columns: number;
  /** From 1; absent where the file has only one. */
  readonly frame?: number;
  /** The same for all DICOM files of a patient; to group by, never to be written (instance.ts). */
  readonly patientKey?: string;
}

/** SHA-256 over size, depth and grey values, the first 16 hexadecimal digits. */
export function pixelHashOf({ rows, columns, bitsAllocated, samples }: DecodedImage): string {
  return createHash('sha256')
    .update(`${rows} ${columns} ${bitsAllocated}\n`)
    .update(samples)
    .digest('hex')
    .slice(0, HASH_DIGITS);
}

/** Of every frame. */
async function factsOf(path: string, signal: AbortSignal | undefined): Promise<readonly ImageFacts[]> {
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

/** Why a file could not be read, without the words that are the same for every file. */
function reasonOf(error: unknown): string {
  if (error instanceof SaladError) return error.message.replace('the image cannot be decoded: ', '');
  return systemReason(error);
}

export interface OpenOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Facts of every file, in order, and of every frame of it; a text where it cannot be read or decoded.
 * @throws SaladError CANCELLED
 */
export async function openImages(
  paths: readonly string[],
  { signal, onProgress }: OpenOptions = {},
): Promise<readonly (readonly ImageFacts[] | string)[]> {
  const results = new Array<readonly ImageFacts[] | string>(paths.length);
  let next = 0;
  let done = 0;
  const work = async (): Promise<void> => {
    while (next < paths.length) {
      if (signal?.aborted) throw new SaladError('CANCELLED', 'reading the data was interrupted');
      const index = next++;
      results[index] = await factsOf(paths[index]!, signal).catch(reasonOf);
      done += 1;
      onProgress?.(done, paths.length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return results;
}
