/** What makes an encoded file unreadable, and what the readers of both formats share. */

/** What is wrong with a file, as the end of a sentence: "its data end before its last block". */
export class ImageDamage extends Error {}

const ZEROS = new Uint8Array(64 * 1024);

/**
 * Files are padded with zeros to whole blocks, and DICOM fragments to an even length. Anything else behind the end may
 * be a second image, or a part of this one.
 * @throws ImageDamage where anything but zero bytes stands from `at` on
 */
export function checkNothingFollows(bytes: Uint8Array, at: number): void {
  for (let from = at; from < bytes.length; from += ZEROS.length) {
    const block = bytes.subarray(from, from + ZEROS.length);
    if (Buffer.compare(block, ZEROS.subarray(0, block.length)) !== 0) {
      throw new ImageDamage('other data follow the end of the image');
    }
  }
}
