/** The error for damaged files, and checks that the readers of PNG and JPEG share. */

/** Damage of an encoded file. The message is a clause about the file, such as "its data end before its last block". */
export class ImageDamage extends Error {}

const PNG_BEGIN = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const JPEG_BEGIN = Buffer.from([0xff, 0xd8, 0xff]);

export function isPng(bytes: Uint8Array): boolean {
  return PNG_BEGIN.every((value, i) => bytes[i] === value);
}

export function isJpeg(bytes: Uint8Array): boolean {
  return JPEG_BEGIN.every((value, i) => bytes[i] === value);
}

/**
 * Checks the bytes after the end of an image. They are ignored, because modalities leave old bytes of a buffer there and pad
 * files to whole blocks; but a second image must not be ignored.
 * @throws ImageDamage where another PNG or JPEG begins at `at` or later
 */
export function checkNoSecondImage(bytes: Uint8Array, at: number): void {
  const rest = Buffer.from(bytes.buffer, bytes.byteOffset + at, bytes.byteLength - at);
  if (rest.includes(PNG_BEGIN) || rest.includes(JPEG_BEGIN)) {
    throw new ImageDamage('another image follows its end; one is scored at a time');
  }
}
