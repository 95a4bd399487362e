/**
 * What lies above the threshold as a Segmentation (PS3.3 A.51): one segment, binary, in pixels of the source image, a frame
 * for each frame of the source in which something lies above it.
 *
 * A pixel belongs to the segment where the pixel of the anomaly map that holds its centre is above the threshold of the
 * image score. That is the area with colours in the overlay, whatever the decision about the image.
 */
import { type FrameMap, isAbove } from '../scoring/frame-map.js';
import type { FrameResult, InstanceResult } from '../scoring/score-instance.js';
import { type Code, codeItem } from './content.js';
import type { DataSet } from './data-set-writer.js';
import { type Plane, pixelSpacingOf, planeOf } from './plane.js';
import {
  commonElements,
  lossElements,
  type OwnUid,
  ownUids,
  RESEARCH_USE,
  type ResultObject,
  referencedSeries,
  resultObject,
  sourceImage,
} from './result-object.js';
import type { SourceHeader } from './source-header.js';

const SEGMENTATION = '1.2.840.10008.5.1.4.1.1.66.4';
/** No code of a finding: the segment claims none. */
const CATEGORY: Code = ['309825002', 'SCT', 'Spatial and relational concept'];
const TYPE: Code = ['ABOVETHRESHOLD', '99SALAD', 'Area that differs from normal images'];
const ARTIFICIAL_INTELLIGENCE: Code = ['123110', 'DCM', 'Artificial Intelligence'];
const DERIVATION: Code = ['113076', 'DCM', 'Segmentation'];
/** Cyan, as the contour of the overlay, in CIELab (PS3.3 C.10.7.1.1). */
const DISPLAY_COLOUR = [53_859, 23_993, 25_800];
/** Attributes and functional groups that frames are ordered by: segment, then number of the frame of the source. */
const SEGMENT = { pointer: [0x0062, 0x000b], group: [0x0062, 0x000a], label: 'Segment' } as const;
const STACK = { pointer: [0x0020, 0x9057], group: [0x0020, 0x9111], label: 'Frame of the image' } as const;

/** The same source, result and maps give the same bytes. @returns undefined where nothing lies above the threshold */
export function buildSegmentation(
  source: SourceHeader,
  result: InstanceResult,
  maps: readonly FrameMap[],
): ResultObject | undefined {
  const shown = maps.filter(isAbove);
  const [first] = shown;
  if (first === undefined) return undefined;
  const own = ownUids(source, result);
  const numbers = shown.map(({ frame }) => frame);
  const plane = planeOf(source, numbers, own);
  const isMultiFrame = result.frames.length > 1;
  const identity = { kind: 'segmentation', sopClassUid: SEGMENTATION, modality: 'SEG' } as const;
  return resultObject({
    ...commonElements(source, result, identity, own),
    ...referencedSeries(source, '0008114A SQ'),
    ...lossElements(source),
    '00080008 CS': 'DERIVED\\PRIMARY',
    '00181000 LO': 'none',
    '00181020 LO': result.frames[0]?.model ?? '',
    '00200020 CS': '',
    '00200052 UI': plane.frameOfReferenceUid,
    '00201040 LO': '',
    ...dimensions(own, isMultiFrame),
    ...pixelElements(result, shown),
    '00620001 CS': 'BINARY',
    '00620002 SQ': [segmentOf(result.frames[first.frame - 1] ?? result.frames[0]!)],
    '00700080 CS': 'ABOVE_THRESHOLD',
    '00700081 LO': 'Area that differs from normal images',
    '00700084 PN': '',
    '52009229 SQ': [sharedGroups(source, first.frame, plane)],
    '52009230 SQ': shown.map(({ frame }, index) =>
      frameGroups(source, isMultiFrame ? frame : undefined, plane.positions[index]!),
    ),
  });
}

function segmentOf({ model, modelHash, maxFalsePositiveRate, threshold }: FrameResult): DataSet {
  const [name = '', version = ''] = model.split('@');
  const algorithm: DataSet = {
    '0066002F SQ': [codeItem(ARTIFICIAL_INTELLIGENCE)],
    '00660031 LO': version,
    '00660032 LT': `sha256=${modelHash} threshold=${threshold} maxFalsePositiveRate=${maxFalsePositiveRate}`,
    '00660036 LO': `SALAD ${name}`.slice(0, 64),
  };
  return {
    '00620003 SQ': [codeItem(CATEGORY)],
    '00620004 US': [1],
    '00620005 LO': 'Differs from normal images',
    '00620006 ST': RESEARCH_USE,
    '00620007 SQ': [algorithm],
    '00620008 CS': 'AUTOMATIC',
    '00620009 LO': `SALAD ${name}`.slice(0, 64),
    '0062000D US': DISPLAY_COLOUR,
    '0062000F SQ': [codeItem(TYPE)],
  };
}

/** PS3.3 C.7.6.17. */
function dimensions(own: OwnUid, isMultiFrame: boolean): DataSet {
  const uid = own('dimensions');
  return {
    '00209221 SQ': [{ '00209164 UI': uid }],
    '00209222 SQ': (isMultiFrame ? [SEGMENT, STACK] : [SEGMENT]).map(({ pointer, group, label }) => ({
      '00209164 UI': uid,
      '00209165 AT': pointer,
      '00209167 AT': group,
      '00209421 LO': label,
    })),
  };
}

function sharedGroups(source: SourceHeader, frame: number, plane: Plane): DataSet {
  return {
    // A projection has no thickness, but a segmentation must have one.
    '00289110 SQ': [{ '00180050 DS': '1', '00280030 DS': pixelSpacingOf(source, frame) }],
    '00209116 SQ': [{ '00200037 DS': plane.orientation }],
  };
}

/** @param frame of the source, from 1; undefined where it has only one */
function frameGroups(source: SourceHeader, frame: number | undefined, position: string): DataSet {
  const content: DataSet =
    frame === undefined
      ? { '00209157 UL': [1] }
      : { '00209056 SH': '1', '00209057 UL': [frame], '00209157 UL': [1, frame] };
  return {
    '00089124 SQ': [{ '00082112 SQ': [sourceImage(source, frame)], '00089215 SQ': [codeItem(DERIVATION)] }],
    '00209111 SQ': [content],
    '00209113 SQ': [{ '00200032 DS': position }],
    '0062000A SQ': [{ '0062000B US': [1] }],
  };
}

function pixelElements({ rows, columns }: InstanceResult, maps: readonly FrameMap[]): DataSet {
  return {
    '00280002 US': [1],
    '00280004 CS': 'MONOCHROME2',
    '00280008 IS': String(maps.length),
    '00280010 US': [rows],
    '00280011 US': [columns],
    '00280100 US': [1],
    '00280101 US': [1],
    '00280102 US': [0],
    '00280103 US': [0],
    '00280301 CS': 'NO',
    '7FE00010 OB': segmentBits(maps, rows, columns),
  };
}

/** The pixels of all frames one after the other, 8 in a byte, the lowest bit first (PS3.5 section 8.1.1). */
function segmentBits(maps: readonly FrameMap[], rows: number, columns: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil((maps.length * rows * columns) / 8));
  for (const [index, { above, ...shape }] of maps.entries()) {
    const columnOf = Array.from({ length: columns }, (_, column) =>
      Math.floor(((column + 0.5) * shape.columns) / columns),
    );
    for (let row = 0, at = index * rows * columns; row < rows; row++) {
      const from = Math.floor(((row + 0.5) * shape.rows) / rows) * shape.columns;
      for (let column = 0; column < columns; column++, at++) {
        if (!Number.isNaN(above[from + columnOf[column]!]!)) bits[at >> 3]! |= 1 << (at & 7);
      }
    }
  }
  return bits;
}
