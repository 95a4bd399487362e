/** A radiograph of the size of the small model, as a DICOM file. */
import { type DicomFileOptions, dicomFile, testCells } from '../../../bench/support/dicom-file.js';
import { SIDE } from '../servers/small-server.js';
import { DX_CLASS } from './raw-dicom.js';

/** @param options its elements are added to the SOP class and instance */
export function radiographOf(uid: string, options: Partial<DicomFileOptions> = {}): Promise<Uint8Array> {
  const elements = { '00080016 UI': DX_CLASS, '00080018 UI': uid, ...options.elements };
  const cells = testCells(SIDE, SIDE, 12);
  return dicomFile({ rows: SIDE, columns: SIDE, cells, bitsStored: 12, ...options, elements });
}
