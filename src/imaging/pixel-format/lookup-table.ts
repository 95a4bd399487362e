/** Look-up tables of a pixel format: Modality LUT and VOI LUT (DICOM PS3.3 C.11.1.1.1, C.11.2.1.1). */
import { invalid } from './invalid-format.js';

/** `firstValue` and lower values map to entry 0; values beyond the last entry map to the last entry. */
export interface LookupTable {
  /** A whole number; may be negative. */
  readonly firstValue: number;
  /** 8 to 16; entries are 0 to 2^bitsPerEntry - 1. */
  readonly bitsPerEntry: number;
  /** 1 to 65,536 of them. */
  readonly entries: Uint16Array | readonly number[];
}

/**
 * @param field of the header that contains the table, for the error
 * @throws SaladError HEADER_INVALID where a table is out of range
 */
export function validateLookupTable(field: string, table: LookupTable): void {
  const { firstValue, bitsPerEntry, entries } = table;
  if (!Number.isInteger(firstValue)) {
    invalid(`${field}.first_value`, `must be a whole number, is ${firstValue}`);
  }
  if (!Number.isInteger(bitsPerEntry) || bitsPerEntry < 8 || bitsPerEntry > 16) {
    invalid(`${field}.bits_per_entry`, `must be 8 to 16, is ${bitsPerEntry}`);
  }
  if (entries.length < 1 || entries.length > 65_536) {
    invalid(`${field}.entries`, `must have 1 to 65536 entries, has ${entries.length}`);
  }
  const largest = 2 ** bitsPerEntry - 1;
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i]!;
    if (!Number.isInteger(entry) || entry < 0 || entry > largest) {
      invalid(`${field}.entries`, `entry ${i} must be 0 to ${largest}, is ${entry}`);
    }
  }
}
