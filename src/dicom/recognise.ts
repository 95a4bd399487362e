/** Recognises DICOM files by their content. */
import { open } from 'node:fs/promises';
import { EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN } from './syntaxes.js';

/** DICOM PS3.10 section 7.1: 128 bytes of any content, then these letters. */
const PREFIX_AT = 128;
const PREFIX = [0x44, 0x49, 0x43, 0x4d];
/** Bytes that are needed to recognise the prefix. */
const HEAD_BYTES = PREFIX_AT + PREFIX.length;

/** Elements that a data set without file meta information begins with: group 0008, most often its length (0008,0000). */
const FIRST_GROUP = 0x0008;
/** No first element of a data set is longer than this. */
const FIRST_LENGTH_MAX = 1024;

/** Value representations that elements of group 0008 have (PS3.6). */
const FIRST_VRS: ReadonlySet<string> = new Set([
  'AE',
  'CS',
  'DA',
  'DT',
  'LO',
  'SH',
  'SQ',
  'ST',
  'TM',
  'UI',
  'UL',
]);

/** A file with the prefix of PS3.10, or a bare data set, implicit or explicit, little endian. */
export function isDicom(bytes: Uint8Array): boolean {
  return hasPrefix(bytes) || bareSyntax(bytes) !== undefined;
}

export function hasPrefix(bytes: Uint8Array): boolean {
  return PREFIX.every((byte, index) => bytes[PREFIX_AT + index] === byte);
}

/** Transfer syntax of a data set without prefix and file meta information; undefined where the bytes are no data set. */
export function bareSyntax(bytes: Uint8Array): string | undefined {
  if (bytes.length < 16) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0, true) !== FIRST_GROUP || view.getUint16(2, true) > 0x0100) return undefined;
  if (FIRST_VRS.has(String.fromCharCode(bytes[4]!, bytes[5]!))) return EXPLICIT_LITTLE_ENDIAN;
  const length = view.getUint32(4, true);
  if (length > FIRST_LENGTH_MAX || 8 + length + 4 > bytes.length) return undefined;
  // The next element of the same data set has a group that is not lower.
  const next = view.getUint16(8 + length, true);
  return next >= FIRST_GROUP && next <= 0x7fe0 ? IMPLICIT_LITTLE_ENDIAN : undefined;
}

/** Whether a file has the prefix of PS3.10; false also where it cannot be read. Reads 132 bytes. */
export async function isDicomFile(path: string): Promise<boolean> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return false;
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return bytesRead === HEAD_BYTES && hasPrefix(buffer);
  } catch {
    return false;
  } finally {
    await file.close();
  }
}
