/** Builds the objects of a result, for the destinations that want them. */
import type { DicomDecoder } from '../../../../src/dicom/decoder/dicom-decoder.js';
import type { DicomFile } from '../../../../src/dicom/decoder/dicom-file.js';
import type { ObjectKind } from '../inbox/instance.js';
import type { FrameMap } from '../scoring/frame-map.js';
import { type InstanceResult, PIXELS_MAX } from '../scoring/score-instance.js';
import { buildPresentationState } from './presentation-state.js';
import { buildReport } from './report.js';
import type { ResultObject } from './result-object.js';
import { buildSecondaryCapture } from './secondary-capture.js';
import { buildSegmentation } from './segmentation.js';
import { readSourceHeader } from './source-header.js';

export interface ScoredSource {
  /** Of the instance's file. */
  readonly path: string;
  readonly result: InstanceResult;
  /** Of the frames that have one. */
  readonly maps: readonly FrameMap[];
  readonly decoder: DicomDecoder;
  readonly signal: AbortSignal;
}

/**
 * Builds an object; the same source and result give the same bytes.
 * @returns why the result has no such object, as a clause, or the object
 * @throws SaladError DICOM_UNSUPPORTED where the source lacks what every object needs; errors of the decoder
 */
export async function buildObject(kind: ObjectKind, from: ScoredSource): Promise<ResultObject | string> {
  const { result, maps, signal } = from;
  const source = await readSourceHeader(from.path);
  switch (kind) {
    case 'report':
      return buildReport(source, result);
    case 'segmentation':
      return buildSegmentation(source, result, maps) ?? 'nothing lies above the threshold';
    case 'secondaryCapture': {
      if (maps.length === 0) return 'there is no anomaly map';
      const capture = await opened(from, (file) => buildSecondaryCapture(source, result, maps, file, signal));
      return capture ?? 'there is no anomaly map';
    }
    case 'presentationState': {
      const state = await opened(from, async ({ description }) =>
        buildPresentationState(source, result, description.greyScale!.format),
      );
      return state ?? 'no frame differs from normal images';
    }
  }
}

async function opened<T>(
  { path, decoder, signal }: ScoredSource,
  work: (file: DicomFile) => Promise<T>,
): Promise<T> {
  const file = await decoder.openFile(path, { maxPixels: PIXELS_MAX, signal });
  try {
    file.refuseUnscorable();
    return await work(file);
  } finally {
    file.close();
  }
}
