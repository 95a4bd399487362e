/** Content items of structured reports (PS3.3 C.17.3). */
import type { DataSet } from './data-set-writer.js';

/** Value, coding scheme, meaning. */
export type Code = readonly [value: string, scheme: string, meaning: string];

/** Relationship to the parent; null for the root. */
export type Relation = 'CONTAINS' | 'HAS OBS CONTEXT' | 'HAS CONCEPT MOD' | 'SELECTED FROM' | 'INFERRED FROM';

export const DCM = {
  report: ['126000', 'DCM', 'Imaging Measurement Report'],
  language: ['121049', 'DCM', 'Language of Content Item and Descendants'],
  english: ['en-US', 'RFC5646', 'English (United States)'],
  observerType: ['121005', 'DCM', 'Observer Type'],
  device: ['121007', 'DCM', 'Device'],
  deviceUid: ['121012', 'DCM', 'Device Observer UID'],
  deviceName: ['121013', 'DCM', 'Device Observer Name'],
  deviceModel: ['121015', 'DCM', 'Device Observer Model Name'],
  procedureReported: ['121058', 'DCM', 'Procedure reported'],
  imagingProcedure: ['363679005', 'SCT', 'Imaging procedure'],
  imageLibrary: ['111028', 'DCM', 'Image Library'],
  imageLibraryGroup: ['126200', 'DCM', 'Image Library Group'],
  measurements: ['126010', 'DCM', 'Imaging Measurements'],
  measurementGroup: ['125007', 'DCM', 'Measurement Group'],
  trackingId: ['112039', 'DCM', 'Tracking Identifier'],
  trackingUid: ['112040', 'DCM', 'Tracking Unique Identifier'],
  algorithmName: ['111001', 'DCM', 'Algorithm Name'],
  algorithmVersion: ['111003', 'DCM', 'Algorithm Version'],
  algorithmParameters: ['111002', 'DCM', 'Algorithm Parameters'],
  imageRegion: ['111030', 'DCM', 'Image Region'],
  comment: ['121106', 'DCM', 'Comment'],
  noUnits: ['1', 'UCUM', 'no units'],
} as const satisfies Record<string, Code>;

export function codeItem([value, scheme, meaning]: Code): DataSet {
  return { '00080100 SH': value, '00080102 SH': scheme, '00080104 LO': meaning };
}

function item(relation: Relation, type: string, concept: Code | undefined, value: DataSet): DataSet {
  return {
    '0040A010 CS': relation,
    '0040A040 CS': type,
    ...(concept === undefined ? {} : { '0040A043 SQ': [codeItem(concept)] }),
    ...value,
  };
}

export function code(relation: Relation, concept: Code, value: Code): DataSet {
  return item(relation, 'CODE', concept, { '0040A168 SQ': [codeItem(value)] });
}

/** @param value ASCII: the character set of the report is that of its source */
export function text(relation: Relation, concept: Code, value: string): DataSet {
  return item(relation, 'TEXT', concept, { '0040A160 UT': value });
}

export function uidRef(relation: Relation, concept: Code, uid: string): DataSet {
  return item(relation, 'UIDREF', concept, { '0040A124 UI': uid });
}

/**
 * A number without a unit.
 * @param basis what it is inferred from
 */
export function number(concept: Code, value: number, basis: readonly DataSet[] = []): DataSet {
  // A decimal string has at most 16 characters.
  const measured = {
    '004008EA SQ': [codeItem(DCM.noUnits)],
    '0040A30A DS': String(Number(value.toPrecision(8))),
  };
  return item('CONTAINS', 'NUM', concept, {
    '0040A300 SQ': [measured],
    ...(basis.length === 0 ? {} : { '0040A730 SQ': basis }),
  });
}

/** @param template number of its template in PS3.16 */
export function container(
  relation: Relation,
  concept: Code,
  children: readonly DataSet[],
  template?: string,
): DataSet {
  return item(relation, 'CONTAINER', concept, containerValue(children, template));
}

/** The parts of a container that the root has, too. */
export function containerValue(children: readonly DataSet[], template?: string): DataSet {
  return {
    '0040A050 CS': 'SEPARATE',
    ...(template === undefined
      ? {}
      : { '0040A504 SQ': [{ '00080105 CS': 'DCMR', '0040DB00 CS': template }] }),
    ...(children.length === 0 ? {} : { '0040A730 SQ': children }),
  };
}

/** @param frame from 1; undefined for an image of one frame */
export function image(
  relation: Relation,
  sopClassUid: string,
  sopInstanceUid: string,
  frame: number | undefined,
): DataSet {
  const reference = {
    '00081150 UI': sopClassUid,
    '00081155 UI': sopInstanceUid,
    ...(frame === undefined ? {} : { '00081160 IS': String(frame) }),
  };
  return item(relation, 'IMAGE', undefined, { '00081199 SQ': [reference] });
}

/** A closed polygon in pixels of the source image, column before row. */
export function region(
  relation: Relation,
  concept: Code,
  points: readonly (readonly [number, number])[],
  of: DataSet,
): DataSet {
  return item(relation, 'SCOORD', concept, {
    '00700022 FL': points.flat(),
    '00700023 CS': 'POLYLINE',
    '0040A730 SQ': [of],
  });
}
