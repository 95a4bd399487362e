/** What all objects of a result have in common: identity, series, equipment, and the reference to their source. */
import { fileMeta } from '../inbox/file-meta.js';
import type { ObjectKind } from '../inbox/instance.js';
import type { InstanceResult } from '../scoring/score-instance.js';
import { type Code, codeItem } from './content.js';
import { type DataSet, dataSetParts } from './data-set-writer.js';
import type { SourceHeader } from './source-header.js';
import { resultUid } from './uid.js';

const EXPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2.1';
/** The series of each kind lie beside each other in a list of series. */
const SERIES_NUMBERS: Readonly<Record<ObjectKind, string>> = {
  report: '9601',
  segmentation: '9602',
  secondaryCapture: '9603',
  presentationState: '9604',
};

/** In every object, where a person may read it. It claims no diagnosis. */
export const RESEARCH_USE = 'Research use only: scores rank and highlight, they are no diagnosis.';

export interface ResultObject {
  readonly sopClassUid: string;
  readonly sopInstanceUid: string;
  readonly dataSet: DataSet;
  /** As a DICOM file. */
  readonly bytes: Uint8Array;
}

/** A UID of this kind, and of nothing else: the same for the same source, model and threshold. */
export type OwnUid = (kind: string) => string;

export function ownUids(source: SourceHeader, { frames: [first] }: InstanceResult): OwnUid {
  const { model = '', modelHash = '', maxFalsePositiveRate = 0, threshold = 0 } = first ?? {};
  // With another threshold the decision is another one: under the same UID an archive would keep the first.
  return (kind) => resultUid(source.sopInstanceUid, kind, model, modelHash, maxFalsePositiveRate, threshold);
}

export interface ObjectClass {
  readonly kind: ObjectKind;
  readonly sopClassUid: string;
  readonly modality: string;
}

/**
 * The elements that every object has.
 * @param own UIDs of the result
 */
export function commonElements(
  source: SourceHeader,
  { scoredMs }: InstanceResult,
  { kind, sopClassUid, modality }: ObjectClass,
  own: OwnUid,
): DataSet {
  const [date, time] = dateAndTime(scoredMs);
  return {
    ...source.repeated,
    '00080012 DA': date,
    '00080013 TM': time,
    '00080016 UI': sopClassUid,
    '00080018 UI': own(kind),
    '00080023 DA': date,
    '00080033 TM': time,
    '00080060 CS': modality,
    '00080070 LO': 'salad-serve',
    '0008103E LO': 'Comparison with normal images (research use)',
    '00081090 LO': 'salad-modality',
    '0020000D UI': source.studyInstanceUid,
    '0020000E UI': own(kind === 'report' ? 'series' : `series of ${kind}`),
    '00200011 IS': SERIES_NUMBERS[kind],
    '00200013 IS': '1',
  };
}

export function resultObject(dataSet: DataSet): ResultObject {
  const sopInstanceUid = dataSet['00080018 UI'] as string;
  const sopClassUid = dataSet['00080016 UI'] as string;
  return {
    sopClassUid,
    sopInstanceUid,
    dataSet,
    get bytes() {
      const meta = fileMeta({ sopClassUid, sopInstanceUid, syntaxUid: EXPLICIT_LITTLE_ENDIAN });
      return Buffer.concat([meta, ...dataSetParts(dataSet)]);
    },
  };
}

/** UTC; DICOM dates and times have no zone of their own. */
function dateAndTime(ms: number): readonly [string, string] {
  const [date = '', time = ''] = new Date(ms).toISOString().split('T');
  return [date.replaceAll('-', ''), time.slice(0, 8).replaceAll(':', '')];
}

/** Reference to the source. @param frame from 1; undefined for all of it */
export function referenceTo({ sopClassUid, sopInstanceUid }: SourceHeader, frame?: number): DataSet {
  return {
    '00081150 UI': sopClassUid,
    '00081155 UI': sopInstanceUid,
    ...(frame === undefined ? {} : { '00081160 IS': String(frame) }),
  };
}

const PURPOSE: Code = ['121322', 'DCM', 'Source image for image processing operation'];

/** Item of Source Image Sequence (0008,2112). @param frame from 1; undefined for all of it */
export function sourceImage(source: SourceHeader, frame?: number): DataSet {
  return {
    ...referenceTo(source, frame),
    '0028135A CS': 'YES',
    '0040A170 SQ': [codeItem(PURPOSE)],
  };
}

/**
 * Referenced Series Sequence (0008,1115) with the source.
 * @param list the sequence of instances in it: each kind of object has another
 */
export function referencedSeries(
  source: SourceHeader,
  list: '0008114A SQ' | '00081140 SQ' | '00081199 SQ',
): DataSet {
  return {
    '00081115 SQ': [{ [list]: [referenceTo(source)], '0020000E UI': source.seriesInstanceUid }],
  };
}

/** Whether the source lost information by compression (PS3.3 C.7.6.1.1.5): what is drawn of it has, too. */
export function lossElements({ compression }: SourceHeader): DataSet {
  return compression ?? { '00282110 CS': '00' };
}
