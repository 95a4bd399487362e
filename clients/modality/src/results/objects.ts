/** Builds the objects of a result, for the destinations that want them. */
import type { ObjectKind } from '../inbox/instance.js';
import type { FrameMap } from '../scoring/frame-map.js';
import type { InstanceResult } from '../scoring/score-instance.js';
import { buildReport } from './report.js';
import type { ResultObject } from './result-object.js';
import { buildSegmentation } from './segmentation.js';
import { readSourceHeader } from './source-header.js';

export interface ScoredSource {
  /** Of the instance's file. */
  readonly path: string;
  readonly result: InstanceResult;
  /** Of the frames that have one. */
  readonly maps: readonly FrameMap[];
}

/**
 * Builds an object; the same source and result give the same bytes.
 * @returns why the result has no such object, as a clause, or the object
 * @throws SaladError DICOM_UNSUPPORTED where the source lacks what every object needs
 */
export async function buildObject(
  kind: ObjectKind,
  { path, result, maps }: ScoredSource,
): Promise<ResultObject | string> {
  const source = await readSourceHeader(path);
  switch (kind) {
    case 'report':
      return buildReport(source, result);
    case 'segmentation':
      return buildSegmentation(source, result, maps) ?? 'nothing lies above the threshold';
    default:
      return 'this version makes none';
  }
}
