/** Reads look-up tables: items of the Modality LUT Sequence (DICOM PS3.3 C.11.1) and the VOI LUT Sequence (C.11.2). */
import type { LookupTable } from '../imaging/pixel-format/lookup-table.js';
import { type DicomDataSet, DicomFault, type Tag, tagName } from './data-set.js';

const DESCRIPTOR: Tag = 'x00283002';
const DATA: Tag = 'x00283006';
const ENTRIES_MAX = 65_536;
const BITS_MIN = 8;
const BITS_MAX = 16;

/**
 * Reads one item.
 * @param inputIsSigned whether input values of the table may be negative: the first input value is then read as a signed
 *   number, if the file has no value representation for it
 * @throws DicomFault where the descriptor and the data do not fit each other
 */
export function readLookupTable(item: DicomDataSet, inputIsSigned: boolean): LookupTable {
  const descriptor = item.element(DESCRIPTOR);
  const count = item.uint16(DESCRIPTOR, 0);
  const bitsPerEntry = item.uint16(DESCRIPTOR, 2);
  const isSigned = descriptor?.vr === 'SS' || (descriptor?.vr === undefined && inputIsSigned);
  const firstValue = isSigned ? item.int16(DESCRIPTOR, 1) : item.uint16(DESCRIPTOR, 1);
  if (count === undefined || firstValue === undefined || bitsPerEntry === undefined) {
    throw new DicomFault(`a look-up table has no complete descriptor ${tagName(DESCRIPTOR)}`);
  }
  if (bitsPerEntry < BITS_MIN || bitsPerEntry > BITS_MAX) {
    throw new DicomFault(`a look-up table has ${bitsPerEntry} bits an entry, not ${BITS_MIN} to ${BITS_MAX}`);
  }
  // C.11.1.1: 65,536 does not fit into 16 bits and is written as 0.
  const entries = readEntries(item, count === 0 ? ENTRIES_MAX : count, bitsPerEntry);
  const largest = 2 ** bitsPerEntry - 1;
  if (entries.some((entry) => entry > largest)) {
    throw new DicomFault(`a look-up table of ${bitsPerEntry} bits an entry has entries above ${largest}`);
  }
  return { firstValue, bitsPerEntry, entries };
}

/** Entries of 16 bits, or of 8 bits without gaps between them, which the standard allows for 8 bits an entry. */
function readEntries(item: DicomDataSet, count: number, bitsPerEntry: number): Uint16Array {
  const data = item.valueOf(DATA);
  if (data.length === 2 * count) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    return Uint16Array.from({ length: count }, (_, i) => view.getUint16(2 * i, item.isLittleEndian));
  }
  const isPacked = bitsPerEntry === 8 && data.length === count + (count % 2) && item.isLittleEndian;
  if (!isPacked) {
    throw new DicomFault(
      `a look-up table of ${count} entries has ${data.length} bytes of data ${tagName(DATA)}`,
    );
  }
  return Uint16Array.from(data.subarray(0, count));
}
