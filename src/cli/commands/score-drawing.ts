/** The pictures of `salad score`: the file's own pixels under the anomaly map that the server sent. */
import { readFile } from 'node:fs/promises';
import type { AcquisitionAggregate } from '../../../clients/typescript/src/index.js';
import { SaladError } from '../../errors/index.js';
import type { MapShape } from '../../imaging/anomaly-map.js';
import type { ColourScale } from '../../imaging/colour-scale.js';
import { decodeImage } from '../../imaging/decode/decode.js';
import { colourLayerPng, overlaySteps, rgbPng } from '../../imaging/overlay.js';
import { greyJpeg, pictureOf } from '../../imaging/picture.js';
import { defaultPixelFormat, type PixelFormat } from '../../imaging/pixel-format.js';
import { inTurns } from '../../imaging/turns.js';

export interface SourcePixels {
  readonly format: PixelFormat;
  /** All samples, row by row, little-endian. */
  readonly samples: Uint8Array;
}

export interface Drawing {
  /** A JPEG file of the image and a PNG file of the colours over it. */
  readonly grey: Uint8Array;
  readonly colours: Uint8Array;
}

/** @throws SaladError IMAGE_UNREADABLE, and errors of the file system */
export async function readPixels(file: string): Promise<SourcePixels> {
  const image = await decodeImage(await readFile(file), { maxPixels: Number.MAX_SAFE_INTEGER });
  const { rows, columns, bitsAllocated, bitsStored, samples } = image;
  return { format: defaultPixelFormat(rows, columns, bitsAllocated, bitsStored), samples };
}

/** A map of float32 with the picture it belongs to. */
export class MapDrawing {
  readonly #grey: Uint8Array;
  readonly #map: Float32Array;
  readonly #shape: MapShape;
  readonly #scale: ColourScale;

  /** @throws SaladError INTERNAL where the server sent no map in the geometry of the source */
  constructor({ format, samples }: SourcePixels, { anomalyMap }: AcquisitionAggregate) {
    if (anomalyMap?.mapToSource === undefined || anomalyMap.scale.length < 2) {
      throw new SaladError('INTERNAL', 'the server sent no anomaly map of the source image: is it older?');
    }
    const { rows, columns, data, scale } = anomalyMap;
    this.#shape = { rows, columns };
    // A copy begins where a float may, which bytes of a message need not.
    this.#map = new Float32Array(Uint8Array.from(data).buffer);
    this.#scale = { from: scale[0]!.robustZ, to: scale.at(-1)!.robustZ };
    this.#grey = pictureOf(samples, format, this.#shape);
  }

  /** The map over the picture, as a PNG file. */
  async overlay(): Promise<Uint8Array> {
    const steps = overlaySteps(this.#grey, this.#map, this.#shape, this.#scale);
    return rgbPng(await inTurns(steps), this.#shape);
  }

  /** Picture and colours apart, for a page. */
  async layers(): Promise<Drawing> {
    const grey = await greyJpeg(this.#grey, this.#shape);
    return { grey, colours: await colourLayerPng(this.#map, this.#shape, this.#scale) };
  }
}
