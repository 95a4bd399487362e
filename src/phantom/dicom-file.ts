/** Writes a phantom as a DICOM file (PS3.5, PS3.10): Computed Radiography, 12 bits, Explicit VR Little Endian. */
import { createHash } from 'node:crypto';
import type { Phantom } from './phantom.js';

const COMPUTED_RADIOGRAPHY = '1.2.840.10008.5.1.4.1.1.1';
const EXPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2.1';

/** Value representations whose length takes 32 bits, after two reserved bytes (PS3.5 table 7.1-1). */
const LONG_VRS: ReadonlySet<string> = new Set(['OB', 'OW']);

type Value = string | number | Uint8Array;
/** Group and element in hexadecimal digits, value representation, value. */
type Attribute = readonly [tag: string, vr: string, value: Value];

/**
 * The file of a phantom: its samples as they are, with the window in the header.
 * @param id patient ID; the same id and phantom give the same UIDs
 */
export function phantomDicomFile(phantom: Phantom, id: string): Uint8Array {
  const { rows, columns, samples, window } = phantom;
  const pixels = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  const instance = uidOf(id, createHash('sha256').update(pixels).digest('hex'));
  const meta = encode([
    ['00020001', 'OB', Uint8Array.of(0, 1)],
    ['00020002', 'UI', COMPUTED_RADIOGRAPHY],
    ['00020003', 'UI', instance],
    ['00020010', 'UI', EXPLICIT_LITTLE_ENDIAN],
    ['00020012', 'UI', uidOf('salad-serve')],
  ]);
  const dataSet = encode([
    ['00080016', 'UI', COMPUTED_RADIOGRAPHY],
    ['00080018', 'UI', instance],
    ['00080060', 'CS', 'CR'],
    ['00100010', 'PN', `PHANTOM^${id}`],
    ['00100020', 'LO', id],
    ['00180015', 'CS', 'CHEST'],
    ['00185101', 'CS', 'PA'],
    ['0020000d', 'UI', uidOf(id, 'study')],
    ['0020000e', 'UI', uidOf(id, 'series')],
    ['00200013', 'IS', '1'],
    ['00200020', 'CS', 'L\\F'],
    ['00280002', 'US', 1],
    ['00280004', 'CS', 'MONOCHROME2'],
    ['00280010', 'US', rows],
    ['00280011', 'US', columns],
    ['00280100', 'US', 16],
    ['00280101', 'US', 12],
    ['00280102', 'US', 11],
    ['00280103', 'US', 0],
    ['00281050', 'DS', window.center.toPrecision(10)],
    ['00281051', 'DS', window.width.toPrecision(10)],
    ['7fe00010', 'OW', pixels],
  ]);
  const metaLength = Buffer.alloc(12);
  metaLength.set([0x02, 0x00, 0x00, 0x00, 0x55, 0x4c, 0x04, 0x00]);
  metaLength.writeUInt32LE(meta.length, 8);
  return Buffer.concat([Buffer.alloc(128), Buffer.from('DICM'), metaLength, meta, dataSet]);
}

function encode(attributes: readonly Attribute[]): Buffer {
  return Buffer.concat(attributes.flatMap(([tag, vr, value]) => encodeAttribute(tag, vr, value)));
}

function encodeAttribute(tag: string, vr: string, value: Value): readonly Uint8Array[] {
  const body = bytesOf(vr, value);
  const head = Buffer.alloc(LONG_VRS.has(vr) ? 12 : 8);
  head.writeUInt16LE(Number.parseInt(tag.slice(0, 4), 16), 0);
  head.writeUInt16LE(Number.parseInt(tag.slice(4), 16), 2);
  head.write(vr, 4, 'latin1');
  if (LONG_VRS.has(vr)) head.writeUInt32LE(body.length, 8);
  else head.writeUInt16LE(body.length, 6);
  return [head, body];
}

/** Values have an even length: UIDs are padded with a zero byte, texts with a space. */
function bytesOf(vr: string, value: Value): Uint8Array {
  if (typeof value === 'number') return Uint8Array.of(value & 0xff, value >> 8);
  if (typeof value !== 'string') return value;
  const padding = value.length % 2 === 0 ? '' : vr === 'UI' ? '\0' : ' ';
  return Buffer.from(value + padding, 'latin1');
}

/** A UID derived from a UUID (PS3.5 annex B.2), here from a hash. */
function uidOf(...parts: readonly string[]): string {
  const hash = createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 32);
  return `2.25.${BigInt(`0x${hash}`)}`;
}
