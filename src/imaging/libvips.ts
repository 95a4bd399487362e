/** Loads sharp, with the cache of libvips disabled. Use this for all images. */
import type Sharp from 'sharp';

let loaded: Promise<typeof Sharp> | undefined;

/** Loaded at the first image: a process that never draws or decodes one has 12 MB less memory. */
export function loadSharp(): Promise<typeof Sharp> {
  loaded ??= import('sharp').then(({ default: sharp }) => {
    // libvips caches the pixels of the latest images, 50 MiB and more, in case the same file is read again. A patient's
    // pixels must be released after the acquisition, and no memory budget counts the cache.
    sharp.cache(false);
    return sharp;
  });
  return loaded;
}
