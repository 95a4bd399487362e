/** sharp without the cache of libvips: images of patients go through it. */
import sharp from 'sharp';

// libvips keeps the pixels of the latest images, 50 MiB and more, in case the same file comes again. A patient's pixels
// must not outlive the acquisition, nor be counted nowhere.
sharp.cache(false);

export { sharp };
