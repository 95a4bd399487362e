/** The decoder as it is built: its processes start as they do in an installation, without a compiler. */
import { pathToFileURL } from 'node:url';
import type * as Decoder from '../../src/dicom/decoder/dicom-decoder.js';
import { root } from './salad.js';

export const BUILT_DECODER = pathToFileURL(`${root}/dist/src/dicom/decoder/dicom-decoder.js`).href;

export async function builtDecoder(): Promise<typeof Decoder.DicomDecoder> {
  return ((await import(BUILT_DECODER)) as typeof Decoder).DicomDecoder;
}
