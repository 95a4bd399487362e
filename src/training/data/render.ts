/** Renders images of a data set as complete working images, with the pixel format that the server would use. */
import { readFile } from 'node:fs/promises';
import { type ImageFrame, openImageFile } from '../../dicom/decoder/image-file.js';
import { SaladError } from '../../errors/index.js';
import { geometryOf } from '../../geometry/geometry.js';
import type { InputSpec, TilingSpec } from '../../geometry/specifications.js';
import type { DecodedImage } from '../../imaging/decode/decode.js';
import { defaultPixelFormat, type PixelFormat } from '../../imaging/pixel-format/pixel-format.js';
import { WorkingImage } from '../../imaging/working-image/working-image.js';
import { IMAGE_PIXELS_MAX } from './images.js';

/** Images decoded ahead of the one in use. */
const LOOKAHEAD = 3;

/** The sections of a manifest that decide how an image is rendered. */
export interface RenderSpec {
  readonly input: InputSpec;
  readonly tiling: TilingSpec;
}

/** Renders the samples of a whole image. @param samples row by row, in the byte order of `format` */
export function renderSamples(samples: Uint8Array, format: PixelFormat, spec: RenderSpec): WorkingImage {
  const geometry = geometryOf(spec.input, spec.tiling);
  const image = new WorkingImage(geometry, spec.input, format, spec.tiling.minStd, 'rows');
  image.pushRows(samples);
  image.complete();
  return image;
}

/** Renders a decoded image, with the default format if it has none. */
export function renderDecoded(decoded: DecodedImage & Partial<ImageFrame>, spec: RenderSpec): WorkingImage {
  const { rows, columns, bitsAllocated, bitsStored, samples } = decoded;
  const format = decoded.format ?? defaultPixelFormat(rows, columns, bitsAllocated, bitsStored);
  return renderSamples(samples, format, spec);
}

async function readFrame({ path, frame = 1 }: FrameOfFile): Promise<ImageFrame> {
  const file = await openImageFile(await readFile(path), { maxPixels: IMAGE_PIXELS_MAX });
  try {
    return await file.frame(frame - 1);
  } finally {
    file.close();
  }
}

/** A frame of an image file. */
export interface FrameOfFile {
  readonly path: string;
  /** From 1; absent if the file has only one. */
  readonly frame?: number;
}

export interface RenderedItem<T> {
  readonly item: T;
  readonly decoded: DecodedImage;
  readonly image: WorkingImage;
}

/** @throws SaladError naming the file, where it has become unreadable since the data set was opened */
async function renderItem<T extends FrameOfFile>(item: T, spec: RenderSpec): Promise<RenderedItem<T>> {
  try {
    const decoded = await readFrame(item);
    return { item, decoded, image: renderDecoded(decoded, spec) };
  } catch (error) {
    const reason = error instanceof SaladError ? error.reason : 'IMAGE_UNREADABLE';
    throw new SaladError(reason, `${item.path}: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Renders all items in order, with a bounded number of images in memory. The next images are decoded while the caller
 * works on the current one.
 * @throws SaladError IMAGE_UNREADABLE, IMAGE_TOO_LARGE, DICOM_UNSUPPORTED; see DicomDecoder
 */
export async function* renderAll<T extends FrameOfFile>(
  items: readonly T[],
  spec: RenderSpec,
): AsyncGenerator<RenderedItem<T>> {
  const pending: Promise<RenderedItem<T>>[] = [];
  const start = (index: number): void => {
    const item = items[index];
    if (!item) return;
    const rendered = renderItem(item, spec);
    // The promise is awaited below; until then a rejection would be reported as unhandled.
    rendered.catch(() => undefined);
    pending.push(rendered);
  };
  for (let index = 0; index < LOOKAHEAD; index += 1) start(index);
  for (let index = 0; index < items.length; index += 1) {
    start(index + LOOKAHEAD);
    yield await pending.shift()!;
  }
}
