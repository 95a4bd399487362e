/** The built decoder, whose processes start as in an installation: without the TypeScript loader. */
import { pathToFileURL } from 'node:url';
import type * as Decoder from '../../../src/dicom/decoder/dicom-decoder.js';
import { root } from '../root.js';

export const BUILT_DECODER = pathToFileURL(`${root}/dist/src/dicom/decoder/dicom-decoder.js`).href;

export async function builtDecoder(): Promise<typeof Decoder.DicomDecoder> {
  return ((await import(BUILT_DECODER)) as typeof Decoder).DicomDecoder;
}
