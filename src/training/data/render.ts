/** Renders images of a data set as complete working images, with the pixel format the server assumes for image files. */
import { readFile } from 'node:fs/promises';
import { SaladError } from '../../errors/index.js';
import { geometryOf } from '../../geometry/geometry.js';
import type { InputSpec, TilingSpec } from '../../geometry/specifications.js';
import { type DecodedImage, decodeImage } from '../../imaging/decode/decode.js';
import { defaultPixelFormat, type PixelFormat } from '../../imaging/pixel-format.js';
import { WorkingImage } from '../../imaging/working-image.js';
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

/** Renders a decoded image file. */
export function renderDecoded(decoded: DecodedImage, spec: RenderSpec): WorkingImage {
  const { rows, columns, bitsAllocated, bitsStored, samples } = decoded;
  return renderSamples(samples, defaultPixelFormat(rows, columns, bitsAllocated, bitsStored), spec);
}

export interface RenderedItem<T> {
  readonly item: T;
  readonly decoded: DecodedImage;
  readonly image: WorkingImage;
}

/** @throws SaladError naming the file, where it has become unreadable since the data set was opened */
async function renderItem<T extends { readonly path: string }>(
  item: T,
  spec: RenderSpec,
): Promise<RenderedItem<T>> {
  try {
    const decoded = await decodeImage(await readFile(item.path), { maxPixels: IMAGE_PIXELS_MAX });
    return { item, decoded, image: renderDecoded(decoded, spec) };
  } catch (error) {
    const reason = error instanceof SaladError ? error.reason : 'IMAGE_UNREADABLE';
    throw new SaladError(reason, `${item.path}: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Renders all items in order, with a bounded number of images in memory. The next images are decoded while the caller
 * works on the current one.
 * @throws SaladError IMAGE_UNREADABLE, IMAGE_TOO_LARGE
 */
export async function* renderAll<T extends { readonly path: string }>(
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
