/** Chooses the VOI transformation of a file (DICOM PS3.3 C.11.2). */
import type { VoiTransform } from '../imaging/pixel-format/pixel-format.js';
import { type DicomDataSet, DicomFault, type Tag } from './data-set.js';
import { frameGroup } from './frame-attributes.js';
import { readLookupTable } from './lookup-table.js';

const FRAME_VOI_LUT: Tag = 'x00289132';
const VOI_LUT_SEQUENCE: Tag = 'x00283010';
const WINDOW_CENTER: Tag = 'x00281050';
const WINDOW_WIDTH: Tag = 'x00281051';
const VOI_LUT_FUNCTION: Tag = 'x00281056';

/** Percentiles of the image, for files of more than 8 bits without window and VOI LUT. */
const AUTO = { kind: 'auto', lowPercentile: 1, highPercentile: 99 } as const;

export interface ChosenVoi {
  readonly voi: VoiTransform;
  /** Windows and tables that the file offers, the one in use included. */
  readonly windows: number;
  readonly tables: number;
  /** Notes on choices that the file leaves open. */
  readonly notes: readonly string[];
}

/**
 * Chooses the first VOI LUT, else the first window. Without either it chooses the full range for up to 8 bits, which are
 * display values already, and the 1st to 99th percentile for more bits, because an image uses only a part of a detector's
 * range.
 * @param isDisplayRange values are stored values of 8 bits or fewer, and the modality transformation changes nothing
 * @param isSigned input values of the VOI transformation may be negative
 * @throws DicomFault where window or table is malformed
 */
export function chooseVoi(
  root: DicomDataSet,
  frame: number,
  isDisplayRange: boolean,
  isSigned: boolean,
): ChosenVoi {
  const group = frameGroup(root, FRAME_VOI_LUT, frame);
  const tables = group.items(VOI_LUT_SEQUENCE);
  const centers = group.numbers(WINDOW_CENTER);
  const offered = { windows: centers.length, tables: tables.length };
  if (tables[0] !== undefined) {
    const voi = { kind: 'lut', ...readLookupTable(tables[0], isSigned) } as const;
    const notes = centers.length > 0 ? ['it has VOI LUTs and windows: the first VOI LUT is used'] : [];
    return { voi, ...offered, notes: [...notes, ...others(tables.length, 'VOI LUTs')] };
  }
  if (centers.length > 0) {
    const { voi, notes } = windowOf(group, centers);
    return { voi, ...offered, notes: [...notes, ...others(centers.length, 'windows')] };
  }
  if (isDisplayRange) return { voi: { kind: 'fullRange' }, ...offered, notes: [] };
  const note = 'it has neither window nor VOI LUT: percentiles 1 and 99 of the image are used';
  return { voi: AUTO, ...offered, notes: [note] };
}

function others(count: number, what: string): readonly string[] {
  return count > 1 ? [`it has ${count} ${what}: the first is used`] : [];
}

function windowOf(
  group: DicomDataSet,
  centers: readonly number[],
): { readonly voi: VoiTransform; readonly notes: readonly string[] } {
  const widths = group.numbers(WINDOW_WIDTH);
  const [center] = centers as [number];
  const [width] = widths;
  if (width === undefined || widths.length !== centers.length) {
    throw new DicomFault(`it has ${centers.length} window centers, but ${widths.length} widths`);
  }
  const shape = functionOf(group);
  if (shape === 'linear' && width > 0 && width < 1) {
    const note = 'its window is narrower than 1, which LINEAR does not allow: LINEAR_EXACT is used';
    return { voi: { kind: 'window', center, width, function: 'linearExact' }, notes: [note] };
  }
  if (!(width > 0)) throw new DicomFault(`its window width is ${width}`);
  return { voi: { kind: 'window', center, width, function: shape }, notes: [] };
}

/** C.11.2.1.3. */
function functionOf(group: DicomDataSet): 'linear' | 'linearExact' | 'sigmoid' {
  switch (group.text(VOI_LUT_FUNCTION)) {
    case undefined:
    case 'LINEAR':
      return 'linear';
    case 'LINEAR_EXACT':
      return 'linearExact';
    case 'SIGMOID':
      return 'sigmoid';
    default:
      throw new DicomFault('its VOI LUT Function is none of LINEAR, LINEAR_EXACT and SIGMOID');
  }
}
