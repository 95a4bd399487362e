/** The bytes of one frame within Pixel Data (DICOM PS3.5 section 8.2 and annex A.4). */
import type { Element } from 'dicom-parser';
import { type DicomDataSet, DicomFault, type Tag } from './data-set.js';
import type { ScorableFacts } from './facts.js';

const PIXEL_DATA: Tag = 'x7fe00010';

interface Fragment {
  /** Offset of its item from the item of the first fragment. */
  readonly offset: number;
  readonly position: number;
  readonly length: number;
}

/** Bytes of one frame's cells. */
export function frameBytes({ rows, columns, bitsAllocated }: ScorableFacts): number {
  return rows * columns * (bitsAllocated / 8);
}

/**
 * Returns the cells of a frame that is not compressed, little-endian.
 * @param frame from 0
 * @throws DicomFault where Pixel Data is shorter than all frames, or longer by a frame
 */
export function nativeFrame(root: DicomDataSet, facts: ScorableFacts, frame: number): Uint8Array {
  const element = root.element(PIXEL_DATA);
  if (element?.encapsulatedPixelData === true)
    throw new DicomFault('its pixels are compressed, its syntax is not');
  const data = root.valueOf(PIXEL_DATA);
  const size = frameBytes(facts);
  const expected = size * facts.frames;
  if (data.length < expected) {
    throw new DicomFault(`Pixel Data has ${data.length} bytes, ${facts.frames} frames need ${expected}`);
  }
  if (data.length >= expected + size && data.length > expected + 1) {
    throw new DicomFault(
      `Pixel Data has ${data.length} bytes, more than the ${expected} of ${facts.frames} frames`,
    );
  }
  const isSwapped = !root.isLittleEndian && (facts.bitsAllocated === 16 || element?.vr === 'OW');
  if (!isSwapped) return data.subarray(frame * size, (frame + 1) * size);
  // Pixels of 8 bits share a word in pairs: after a frame of odd size the next one begins in the middle of a word.
  const from = frame * size - ((frame * size) % 2);
  const words = Buffer.from(data.subarray(from, (frame + 1) * size + (((frame + 1) * size) % 2))).swap16();
  return words.subarray(frame * size - from, frame * size - from + size);
}

/**
 * Returns the compressed bytes of a frame: one fragment, or several joined.
 * @param frame from 0
 * @throws DicomFault where frames cannot be separated
 */
export function encapsulatedFrame(root: DicomDataSet, facts: ScorableFacts, frame: number): Uint8Array {
  const element = root.element(PIXEL_DATA);
  const fragments: readonly Fragment[] = element?.fragments ?? [];
  if (element?.encapsulatedPixelData !== true || fragments.length === 0) {
    throw new DicomFault('its syntax is compressed, its pixels are not');
  }
  const starts = frameStarts(root, element, fragments, facts.frames);
  const own = fragments.slice(starts[frame], starts[frame + 1]);
  const bytes = own.map(({ position, length }) => root.bytes.subarray(position, position + length));
  return bytes.length === 1 ? bytes[0]! : Buffer.concat(bytes);
}

/** Index of the first fragment of each frame. */
function frameStarts(
  root: DicomDataSet,
  element: Element,
  fragments: readonly Fragment[],
  frames: number,
): readonly number[] {
  if (frames === 1) return [0];
  if (fragments.length === frames) return fragments.map((_, index) => index);
  const offsets = element.basicOffsetTable ?? [];
  const starts =
    offsets.length > 0
      ? offsets.map((offset) => fragments.findIndex((fragment) => fragment.offset === offset))
      : fragments.flatMap((fragment, index) => (beginsCodestream(root.bytes, fragment) ? [index] : []));
  const isAscending = starts.every((start, index) => start > (starts[index - 1] ?? -1));
  if (starts.length !== frames || starts[0] !== 0 || !isAscending) {
    throw new DicomFault(`the ${frames} frames cannot be separated in ${fragments.length} fragments`);
  }
  return starts;
}

/** JPEG and JPEG-LS begin with SOI, JPEG 2000 with SOC. */
function beginsCodestream(bytes: Uint8Array, { position }: Fragment): boolean {
  return bytes[position] === 0xff && (bytes[position + 1] === 0xd8 || bytes[position + 1] === 0x4f);
}
