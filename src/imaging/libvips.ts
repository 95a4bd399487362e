/** Exports sharp with the cache of libvips disabled. Use this export for all images. */
import sharp from 'sharp';

// libvips caches the pixels of the latest images, 50 MiB and more, in case the same file is read again. A patient's pixels
// must be released after the acquisition, and no memory budget counts the cache.
sharp.cache(false);

export { sharp };
