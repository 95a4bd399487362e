/** The image under its anomaly map as a Secondary Capture (PS3.3 A.8.1), or a multi-frame one (A.8.5), in RGB. */
import type { DicomFile } from '../../../../src/dicom/decoder/dicom-file.js';
import type { FrameMap } from '../scoring/frame-map.js';
import type { InstanceResult } from '../scoring/score-instance.js';
import type { DataSet } from './data-set-writer.js';
import { pictureWithMap, type RgbPicture } from './picture.js';
import {
  commonElements,
  lossElements,
  ownUids,
  RESEARCH_USE,
  type ResultObject,
  resultObject,
  sourceImage,
} from './result-object.js';
import type { SourceHeader } from './source-header.js';

const SECONDARY_CAPTURE = '1.2.840.10008.5.1.4.1.1.7';
const MULTI_FRAME_TRUE_COLOUR = '1.2.840.10008.5.1.4.1.1.7.4';
/** Page Number Vector (0018,2001). */
const PAGES = [0x0018, 0x2001];
/** Of an image with many frames the highest scored ones are shown: a picture takes up to 0.9 MB. */
const FRAMES_MAX = 16;

/**
 * The same source, result and maps give the same bytes.
 * @param file the source, from which the shown frames are decoded
 * @returns undefined where no frame has a map
 * @throws SaladError where a frame cannot be decoded
 */
export async function buildSecondaryCapture(
  source: SourceHeader,
  result: InstanceResult,
  maps: readonly FrameMap[],
  file: DicomFile,
  signal: AbortSignal,
): Promise<ResultObject | undefined> {
  const shown = highest(maps, result);
  const pictures: RgbPicture[] = [];
  for (const map of shown) {
    pictures.push(await pictureWithMap(await file.frameInParts(map.frame - 1, { signal }), map));
  }
  const [first] = pictures;
  if (first === undefined) return undefined;
  const isMultiFrame = result.frames.length > 1;
  const sopClassUid = isMultiFrame ? MULTI_FRAME_TRUE_COLOUR : SECONDARY_CAPTURE;
  const identity = { kind: 'secondaryCapture', sopClassUid, modality: 'OT' } as const;
  return resultObject({
    ...commonElements(source, result, identity, ownUids(source, result)),
    ...lossElements(source),
    '00080008 CS': 'DERIVED\\SECONDARY',
    '00080064 CS': 'WSD',
    '00082111 ST': `Reduced image under its anomaly map. ${RESEARCH_USE}`,
    '00082112 SQ': shown.map(({ frame }) => drawnFrom(source, isMultiFrame ? frame : undefined)),
    '00200020 CS': source.patientOrientation ?? '',
    '00200060 CS': '',
    '00280301 CS': source.burnedInAnnotation ?? 'NO',
    ...(isMultiFrame ? pagesOf(shown) : {}),
    ...pixelElements(pictures),
  });
}

/** The picture is reduced, and has a bar and a note around it. */
function drawnFrom(source: SourceHeader, frame: number | undefined): DataSet {
  return { ...sourceImage(source, frame), '0028135A CS': 'NO' };
}

/** Those with the highest image score, in the order of the frames. */
function highest(maps: readonly FrameMap[], { frames }: InstanceResult): readonly FrameMap[] {
  const scoreOf = ({ frame }: FrameMap) => frames[frame - 1]?.imageScore ?? Number.NEGATIVE_INFINITY;
  return [...maps]
    .sort((a, b) => scoreOf(b) - scoreOf(a) || a.frame - b.frame)
    .slice(0, FRAMES_MAX)
    .sort((a, b) => a.frame - b.frame);
}

/** The pages are numbered as the frames of the source. */
function pagesOf(maps: readonly FrameMap[]): DataSet {
  return {
    '00182001 IS': maps.map(({ frame }) => String(frame)).join('\\'),
    '00280008 IS': String(maps.length),
    '00280009 AT': PAGES,
  };
}

function pixelElements(pictures: readonly RgbPicture[]): DataSet {
  const { rows, columns } = pictures[0]!.shape;
  return {
    '00280002 US': [3],
    '00280004 CS': 'RGB',
    '00280006 US': [0],
    '00280010 US': [rows],
    '00280011 US': [columns],
    '00280100 US': [8],
    '00280101 US': [8],
    '00280102 US': [7],
    '00280103 US': [0],
    '7FE00010 OB': Buffer.concat(pictures.map(({ rgb }) => rgb)),
  };
}
