/** Opens image files of every supported format (DICOM, PNG, JPEG), recognised by their content, frame by frame. */
import { type DecodedImage, decodeImage } from '../../imaging/decode/decode.js';
import { defaultPixelFormat, type PixelFormat } from '../../imaging/pixel-format/pixel-format.js';
import type { DicomDescription, OpenOptions } from '../decode.js';
import { isDicom } from '../recognise.js';
import { sharedDicomDecoder } from './dicom-decoder.js';

export interface ImageFrame extends DecodedImage {
  /** Meaning of the samples; the default for PNG and JPEG. */
  readonly format: PixelFormat;
}

export interface ImageFile {
  /** 1 or more. */
  readonly frames: number;
  /** Undefined for PNG and JPEG. */
  readonly dicom: DicomDescription | undefined;
  /**
   * Decodes a frame; a failure does not affect other frames.
   * @param frame from 0
   * @throws SaladError IMAGE_UNREADABLE, IMAGE_TOO_LARGE; of DICOM files as `DicomFile.frame`
   */
  frame(frame: number, signal?: AbortSignal): Promise<ImageFrame>;
  close(): void;
}

/**
 * Opens a file; close what it returns.
 * @throws SaladError IMAGE_UNREADABLE, IMAGE_TOO_LARGE, DICOM_UNSUPPORTED; see `DicomDecoder.open`
 */
export async function openImageFile(
  bytes: Uint8Array,
  { signal, ...options }: OpenOptions & { readonly signal?: AbortSignal | undefined },
): Promise<ImageFile> {
  if (!isDicom(bytes)) {
    const image = await decodeImage(bytes, options);
    const { rows, columns, bitsAllocated, bitsStored } = image;
    const format = defaultPixelFormat(rows, columns, bitsAllocated, bitsStored);
    return { frames: 1, dicom: undefined, frame: async () => ({ ...image, format }), close() {} };
  }
  const file = await sharedDicomDecoder().open(bytes, { ...options, signal });
  try {
    file.refuseUnscorable();
  } catch (error) {
    file.close();
    throw error;
  }
  return {
    frames: file.frames,
    dicom: file.description,
    frame: async (frame, frameSignal) => asImageFrame(await file.frame(frame, { signal: frameSignal })),
    close: () => file.close(),
  };
}

function asImageFrame({ format, samples }: { format: PixelFormat; samples: Uint8Array }): ImageFrame {
  const { rows, columns, bitsStored } = format;
  // A DICOM file has stored values of 8 or 16 bits; 32 bits are for display values.
  const bitsAllocated = format.bitsAllocated === 8 ? 8 : 16;
  return { rows, columns, bitsAllocated, bitsStored, samples, format };
}
