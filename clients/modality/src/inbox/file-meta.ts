/** The head of a DICOM file (PS3.10 section 7.1): preamble, prefix and file meta information. */
import type { InstanceIdentity } from './instance.js';

/** Of this program, derived from a UUID (PS3.5 annex B.2). */
export const IMPLEMENTATION_CLASS_UID = '2.25.312860412973215784310098465421175318764';
/** At most 16 characters. */
export const IMPLEMENTATION_VERSION_NAME = 'SALAD_MODALITY_1';

/** Identifies group and element, VR and value; explicit little endian. */
function element(number: number, vr: string, value: Uint8Array): Buffer {
  const isLong = vr === 'OB';
  const head = Buffer.alloc(isLong ? 12 : 8);
  head.writeUInt16LE(0x0002, 0);
  head.writeUInt16LE(number, 2);
  head.write(vr, 4, 'latin1');
  if (isLong) head.writeUInt32LE(value.byteLength, 8);
  else head.writeUInt16LE(value.byteLength, 6);
  return Buffer.concat([head, value]);
}

function uid(text: string): Buffer {
  return Buffer.from(text.length % 2 === 0 ? text : `${text}\0`, 'latin1');
}

/** The bytes before the data set. */
export function fileMeta({ sopClassUid, sopInstanceUid, syntaxUid }: InstanceIdentity): Uint8Array {
  const body = Buffer.concat([
    element(0x0001, 'OB', Uint8Array.of(0, 1)),
    element(0x0002, 'UI', uid(sopClassUid)),
    element(0x0003, 'UI', uid(sopInstanceUid)),
    element(0x0010, 'UI', uid(syntaxUid)),
    element(0x0012, 'UI', uid(IMPLEMENTATION_CLASS_UID)),
    element(0x0013, 'SH', Buffer.from(IMPLEMENTATION_VERSION_NAME, 'latin1')),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.byteLength);
  return Buffer.concat([
    Buffer.alloc(128),
    Buffer.from('DICM', 'latin1'),
    element(0x0000, 'UL', length),
    body,
  ]);
}
