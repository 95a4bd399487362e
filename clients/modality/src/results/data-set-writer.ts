/**
 * Writes data sets of this program in Explicit or Implicit VR Little Endian (PS3.5 section 7, annex A). Text of a source file is written as the
 * bytes that it has there, so that its character set stays right.
 */

/** A text (several values joined by `\`), numbers of VR US, UL, SL, FL or AT (group, element), bytes as they are, or the items of a sequence. */
export type ElementValue = string | readonly number[] | Uint8Array | readonly DataSet[];

/** By tag and value representation, such as `'00280010 US'`. */
export type DataSet = Readonly<Record<string, ElementValue>>;

/** Value representations with a length of 32 bits. */
const LONG = new Set(['OB', 'OW', 'SQ', 'UN', 'UT']);
const ITEM = Buffer.from('feff00e0', 'hex');

export type Encoding = 'explicit' | 'implicit';

/** The bytes of a data set, its elements in ascending order. */
export function writeDataSet(dataSet: DataSet, encoding: Encoding = 'explicit'): Buffer {
  return Buffer.concat(dataSetParts(dataSet, encoding));
}

/** As `writeDataSet`, in parts: of pixels, which take megabytes, the bytes of `dataSet` themselves. */
export function dataSetParts(dataSet: DataSet, encoding: Encoding = 'explicit'): readonly Buffer[] {
  const keys = Object.keys(dataSet).sort();
  return keys.flatMap((key) => elementParts(key, dataSet[key]!, encoding));
}

function elementParts(key: string, value: ElementValue, encoding: Encoding): readonly Buffer[] {
  const [tag = '', vr = ''] = key.split(' ');
  const bytes = encoded(vr, value, encoding);
  const isLong = LONG.has(vr);
  const head = Buffer.alloc(encoding === 'explicit' && isLong ? 12 : 8);
  head.writeUInt16LE(Number.parseInt(tag.slice(0, 4), 16), 0);
  head.writeUInt16LE(Number.parseInt(tag.slice(4), 16), 2);
  if (encoding === 'implicit') head.writeUInt32LE(bytes.length, 4);
  else {
    if (!isLong && bytes.length > 0xffff) throw new RangeError(`${key} has ${bytes.length} bytes`);
    head.write(vr, 4, 'latin1');
    if (isLong) head.writeUInt32LE(bytes.length, 8);
    else head.writeUInt16LE(bytes.length, 6);
  }
  return [head, bytes];
}

function encoded(vr: string, value: ElementValue, encoding: Encoding): Buffer {
  if (typeof value === 'string') return even(Buffer.from(value, 'latin1'), vr === 'UI' ? 0 : 0x20);
  if (value instanceof Uint8Array)
    return even(
      Buffer.from(value.buffer, value.byteOffset, value.byteLength),
      vr === 'UI' || vr === 'OB' || vr === 'OW' ? 0 : 0x20,
    );
  if (vr === 'SQ') return Buffer.concat((value as readonly DataSet[]).map((item) => itemOf(item, encoding)));
  if (vr === 'FL') return Buffer.from(Float32Array.from(value as readonly number[]).buffer);
  if (vr === 'UL' || vr === 'SL') return Buffer.from(Int32Array.from(value as readonly number[]).buffer);
  return Buffer.from(Uint16Array.from(value as readonly number[]).buffer);
}

function itemOf(item: DataSet, encoding: Encoding): Buffer {
  const body = writeDataSet(item, encoding);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  return Buffer.concat([ITEM, length, body]);
}

function even(bytes: Buffer, padding: number): Buffer {
  return bytes.length % 2 === 0 ? bytes : Buffer.concat([bytes, Buffer.from([padding])]);
}
