/** Opens every image of a data set once, so that all unreadable files are reported together and before the work. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { SaladError } from '../../errors/index.js';
import { type DecodedImage, decodeImage } from '../../imaging/decode/decode.js';
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
}

/** SHA-256 over size, depth and grey values, the first 16 hexadecimal digits. */
export function pixelHashOf({ rows, columns, bitsAllocated, samples }: DecodedImage): string {
  return createHash('sha256')
    .update(`${rows} ${columns} ${bitsAllocated}\n`)
    .update(samples)
    .digest('hex')
    .slice(0, HASH_DIGITS);
}

async function factsOf(path: string): Promise<ImageFacts> {
  const bytes = await readFile(path);
  const decoded = await decodeImage(bytes, { maxPixels: IMAGE_PIXELS_MAX });
  return {
    sha256: createHash('sha256').update(bytes).digest('hex'),
    pixelHash: pixelHashOf(decoded),
    rows: decoded.rows,
    columns: decoded.columns,
  };
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
 * Facts of every file, in order; a text where it cannot be read or decoded.
 * @throws SaladError CANCELLED
 */
export async function openImages(
  paths: readonly string[],
  { signal, onProgress }: OpenOptions = {},
): Promise<readonly (ImageFacts | string)[]> {
  const results = new Array<ImageFacts | string>(paths.length);
  let next = 0;
  let done = 0;
  const work = async (): Promise<void> => {
    while (next < paths.length) {
      if (signal?.aborted) throw new SaladError('CANCELLED', 'reading the data was interrupted');
      const index = next++;
      results[index] = await factsOf(paths[index]!).catch(reasonOf);
      done += 1;
      onProgress?.(done, paths.length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return results;
}
