/** What makes an encoded file unreadable, and what the readers of both formats share. */

/** What is wrong with a file, as the end of a sentence: "its data end before its last block". */
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
 * Bytes behind the end of an image are no part of it: modalities leave old bytes of a buffer there, and pad files to
 * whole blocks. A second image would be lost unseen.
 * @throws ImageDamage where another PNG or JPEG begins at `at` or behind it
 */
export function checkNoSecondImage(bytes: Uint8Array, at: number): void {
  const rest = Buffer.from(bytes.buffer, bytes.byteOffset + at, bytes.byteLength - at);
  if (rest.includes(PNG_BEGIN) || rest.includes(JPEG_BEGIN)) {
    throw new ImageDamage('another image follows its end; one is scored at a time');
  }
}
