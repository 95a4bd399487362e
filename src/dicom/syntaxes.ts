/** The transfer syntaxes that can be decoded (DICOM PS3.5 section 10 and annex A), and their codecs. */

/** Codec that decodes the bytes of a frame to cells; `none`: the bytes are cells already. */
export type Codec = 'none' | 'rle' | 'jpeg' | 'jpegLs' | 'jpeg2000';

export interface TransferSyntax {
  readonly uid: string;
  readonly name: string;
  readonly codec: Codec;
}

export const IMPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2';
export const EXPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2.1';
export const DEFLATED = '1.2.840.10008.1.2.1.99';
export const EXPLICIT_BIG_ENDIAN = '1.2.840.10008.1.2.2';

const SYNTAXES: readonly TransferSyntax[] = [
  { uid: IMPLICIT_LITTLE_ENDIAN, name: 'Implicit VR Little Endian', codec: 'none' },
  { uid: EXPLICIT_LITTLE_ENDIAN, name: 'Explicit VR Little Endian', codec: 'none' },
  { uid: DEFLATED, name: 'Deflated Explicit VR Little Endian', codec: 'none' },
  { uid: EXPLICIT_BIG_ENDIAN, name: 'Explicit VR Big Endian', codec: 'none' },
  { uid: '1.2.840.10008.1.2.4.50', name: 'JPEG Baseline (Process 1)', codec: 'jpeg' },
  { uid: '1.2.840.10008.1.2.4.51', name: 'JPEG Extended (Process 2 and 4)', codec: 'jpeg' },
  { uid: '1.2.840.10008.1.2.4.57', name: 'JPEG Lossless (Process 14)', codec: 'jpeg' },
  {
    uid: '1.2.840.10008.1.2.4.70',
    name: 'JPEG Lossless (Process 14, Selection Value 1)',
    codec: 'jpeg',
  },
  { uid: '1.2.840.10008.1.2.4.80', name: 'JPEG-LS Lossless', codec: 'jpegLs' },
  { uid: '1.2.840.10008.1.2.4.81', name: 'JPEG-LS Near-lossless', codec: 'jpegLs' },
  { uid: '1.2.840.10008.1.2.4.90', name: 'JPEG 2000 Lossless', codec: 'jpeg2000' },
  { uid: '1.2.840.10008.1.2.4.91', name: 'JPEG 2000', codec: 'jpeg2000' },
  { uid: '1.2.840.10008.1.2.5', name: 'RLE Lossless', codec: 'rle' },
];

/** Returns undefined for a syntax that cannot be decoded. */
export function findSyntax(uid: string): TransferSyntax | undefined {
  return SYNTAXES.find((syntax) => syntax.uid === uid);
}
