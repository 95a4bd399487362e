/** UIDs of results: the same for the same source, model and threshold, so that a result sent twice is one object. */
import { createHash } from 'node:crypto';

/** @returns `2.25.` and 128 bits of the SHA-256 of the parts (PS3.5 annex B.2), at most 44 characters */
export function resultUid(...parts: readonly (string | number)[]): string {
  const hash = createHash('sha256').update(JSON.stringify(parts)).digest();
  // Version and variant of a random UUID, so that it is one.
  hash[6] = (hash[6]! & 0x0f) | 0x40;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  return `2.25.${BigInt(`0x${hash.subarray(0, 16).toString('hex')}`)}`;
}
