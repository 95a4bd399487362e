/**
 * The result of an instance as a structured report: TID 1500 (PS3.16), Comprehensive SR. It holds the image score, the
 * p-value and the decision of every frame, and the highest patches of frames that differ from normal images.
 */
import { IMPLEMENTATION_CLASS_UID } from '../inbox/file-meta.js';
import type { FrameResult, InstanceResult } from '../scoring/score-instance.js';
import {
  type Code,
  code,
  codeItem,
  container,
  containerValue,
  DCM,
  image,
  number,
  region,
  text,
  uidRef,
} from './content.js';
import type { DataSet } from './data-set-writer.js';
import { cornersOf, regionsOf } from './regions.js';
import {
  commonElements,
  type OwnUid,
  ownUids,
  RESEARCH_USE,
  type ResultObject,
  referencedSeries,
  resultObject,
} from './result-object.js';
import type { SourceHeader } from './source-header.js';

const COMPREHENSIVE_SR = '1.2.840.10008.5.1.4.1.1.88.33';

const IMAGE_SCORE: Code = ['IMAGESCORE', '99SALAD', 'Image score'];
const P_VALUE: Code = ['PVALUE', '99SALAD', 'p-value'];
const THRESHOLD: Code = ['THRESHOLD', '99SALAD', 'Threshold'];
const PATCH_SCORE: Code = ['ROBUSTZ', '99SALAD', 'Robust z'];
const DECISION: Code = ['DECISION', '99SALAD', 'Comparison with normal images'];
const NOTE: Code = ['NOTE', '99SALAD', 'Note'];

/** Words that rank, and claim no diagnosis. */
const DECISION_WORDS: Readonly<Record<FrameResult['decision'], string>> = {
  normal: 'does not differ from normal images more than the threshold',
  anomalous: 'differs from normal images more than the threshold',
  indeterminate: 'could not be compared with normal images',
  unspecified: 'could not be compared with normal images',
};

/** The same source and result give the same bytes. */
export function buildReport(source: SourceHeader, result: InstanceResult): ResultObject {
  const own = ownUids(source, result);
  const identity = { kind: 'report', sopClassUid: COMPREHENSIVE_SR, modality: 'SR' } as const;
  return resultObject({
    ...commonElements(source, result, identity, own),
    '00081111 SQ': [],
    '0040A372 SQ': [],
    '0040A375 SQ': [evidence(source)],
    '0040A491 CS': 'COMPLETE',
    '0040A493 CS': 'UNVERIFIED',
    '0040A040 CS': 'CONTAINER',
    '0040A043 SQ': [codeItem(DCM.report)],
    ...containerValue(contentOf(source, result, own), '1500'),
  });
}

/** Current Requested Procedure Evidence (PS3.3 C.17.2.3). */
function evidence(source: SourceHeader): DataSet {
  return { ...referencedSeries(source, '00081199 SQ'), '0020000D UI': source.studyInstanceUid };
}

function contentOf(source: SourceHeader, result: InstanceResult, own: OwnUid): DataSet[] {
  const isMultiFrame = result.frames.length > 1;
  const imageOf = (relation: 'CONTAINS' | 'SELECTED FROM', frame: number) =>
    image(relation, source.sopClassUid, source.sopInstanceUid, isMultiFrame ? frame : undefined);
  return [
    code('HAS CONCEPT MOD', DCM.language, DCM.english),
    code('HAS OBS CONTEXT', DCM.observerType, DCM.device),
    uidRef('HAS OBS CONTEXT', DCM.deviceUid, IMPLEMENTATION_CLASS_UID),
    text('HAS OBS CONTEXT', DCM.deviceName, 'salad-modality'),
    text('HAS OBS CONTEXT', DCM.deviceModel, result.frames[0]?.model ?? ''),
    code('HAS CONCEPT MOD', DCM.procedureReported, DCM.imagingProcedure),
    container('CONTAINS', DCM.imageLibrary, [
      container('CONTAINS', DCM.imageLibraryGroup, [
        image('CONTAINS', source.sopClassUid, source.sopInstanceUid, undefined),
      ]),
    ]),
    container(
      'CONTAINS',
      DCM.measurements,
      result.frames.flatMap((frame) => groupsOf(frame, result, own, imageOf)),
    ),
  ];
}

/** A number of a measurement group, without a unit. */
type Measured = readonly [concept: Code, value: number];

/** The whole frame, then its highest patches where it differs from normal images. */
function groupsOf(
  frame: FrameResult,
  { rows, columns }: InstanceResult,
  own: OwnUid,
  imageOf: (relation: 'SELECTED FROM', frame: number) => DataSet,
): DataSet[] {
  const group = (
    name: string,
    box: FrameResult['topPatches'][number]['box'],
    numbers: readonly Measured[],
    texts: readonly DataSet[],
  ) => {
    const outline = (relation: 'CONTAINS' | 'INFERRED FROM') =>
      region(relation, DCM.imageRegion, cornersOf(box), imageOf('SELECTED FROM', frame.frame));
    const items = [
      text('HAS OBS CONTEXT', DCM.trackingId, name),
      uidRef('HAS OBS CONTEXT', DCM.trackingUid, own(name)),
      ...algorithmOf(frame),
      outline('CONTAINS'),
      // Viewers built on Cornerstone look for the region below the first number.
      ...numbers.map(([concept, value], index) =>
        number(concept, value, index === 0 ? [outline('INFERRED FROM')] : []),
      ),
      ...texts,
    ];
    return container('CONTAINS', DCM.measurementGroup, items, '1410');
  };
  const whole = { top: 0, left: 0, bottom: rows, right: columns };
  return [
    group(`frame ${frame.frame}`, whole, frameNumbers(frame), frameTexts(frame)),
    ...regionsOf(frame).map(({ box, robustZ }, index) =>
      group(
        `frame ${frame.frame} patch ${index + 1}`,
        box,
        [[PATCH_SCORE, robustZ]],
        [text('CONTAINS', DCM.comment, `Patch ${index + 1}: robust z ${shown(robustZ)}`)],
      ),
    ),
  ];
}

function frameNumbers({ imageScore, pValue, threshold }: FrameResult): Measured[] {
  return [
    ...(imageScore === null ? [] : [[IMAGE_SCORE, imageScore] as const]),
    ...(pValue === null ? [] : [[P_VALUE, pValue] as const]),
    ...(Number.isFinite(threshold) ? [[THRESHOLD, threshold] as const] : []),
  ];
}

function frameTexts({ frame, imageScore, pValue, threshold, decision, warnings }: FrameResult): DataSet[] {
  const numbers = [
    ...(imageScore === null ? ['no image score'] : [`image score ${shown(imageScore)}`]),
    ...(pValue === null ? [] : [`p-value ${shown(pValue)}`]),
    ...(Number.isFinite(threshold) ? [`threshold ${shown(threshold)}`] : []),
  ];
  return [
    // Viewers show it as the name of the region.
    text('CONTAINS', DCM.comment, `Frame ${frame}: ${numbers.join(', ')}`),
    text('CONTAINS', DECISION, DECISION_WORDS[decision]),
    text('CONTAINS', NOTE, RESEARCH_USE),
    ...warnings.map(({ kind }) => text('CONTAINS', NOTE, kind)),
  ];
}

function shown(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/** TID 4019. */
function algorithmOf({ model, modelHash, engines, maxFalsePositiveRate }: FrameResult): DataSet[] {
  const [name = '', version = ''] = model.split('@');
  return [
    text('HAS CONCEPT MOD', DCM.algorithmName, `SALAD ${name}`),
    text('HAS CONCEPT MOD', DCM.algorithmVersion, version),
    text('HAS CONCEPT MOD', DCM.algorithmParameters, `sha256=${modelHash}`),
    text('HAS CONCEPT MOD', DCM.algorithmParameters, `engines=${engines.join('+')}`),
    text('HAS CONCEPT MOD', DCM.algorithmParameters, `maxFalsePositiveRate=${maxFalsePositiveRate}`),
  ];
}
