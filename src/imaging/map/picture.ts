/** Draws grey pictures of radiographs: small, 8 bits, in the geometry of the source image. */
import type { Placement } from '../../geometry/placement.js';
import { percentilesOf } from '../contrast/percentile.js';
import { stretch } from '../contrast/stretch.js';
import { loadSharp } from '../libvips.js';
import { createDisplayTransform, type PixelFormat } from '../pixel-format/pixel-format.js';
import { RowResampler } from '../working-image/resample.js';
import type { MapShape } from './anomaly-map.js';

/** Samples that are converted to display values in one call. */
const BLOCK_SAMPLES = 32_768;
/** Percentiles of the picture that are shown black and white, so that a few markers or dead pixels do not set the range. */
const SHOWN = [0.5, 99.5] as const;

/**
 * Draws the source from the working image, one row in each step.
 * @param pixels uint8 [size, size], where the source lies at `placement`
 * @returns uint8 [shape.rows, shape.columns]
 */
export function* pictureSteps(
  pixels: Uint8Array,
  size: number,
  placement: Placement,
  shape: MapShape,
): Generator<void, Uint8Array> {
  const picture = new Uint8Array(shape.rows * shape.columns);
  const resampler = new RowResampler(
    {
      sourceRows: placement.rows,
      sourceColumns: placement.columns,
      targetRows: shape.rows,
      targetColumns: shape.columns,
    },
    (row, values) => {
      for (let column = 0; column < shape.columns; column++) {
        picture[row * shape.columns + column] = Math.round(values[column]!);
      }
    },
  );
  const values = new Float32Array(placement.columns);
  for (let row = 0; row < placement.rows; row++) {
    const from = (placement.top + row) * size + placement.left;
    values.set(pixels.subarray(from, from + placement.columns));
    resampler.push(values, 1);
    yield;
  }
  return picture;
}

/** A picture of which the source is given in parts. */
export interface Picture {
  /** @param samples of the next rows, one or more whole ones, little-endian */
  push(samples: Uint8Array): void;
  /** Call after all rows. @returns uint8 [shape.rows, shape.columns] */
  finish(): Uint8Array;
}

/** Draws the source from its samples, with the grey levels stretched between two percentiles. */
export function drawPicture(format: PixelFormat, shape: MapShape): Picture {
  const { rows, columns, bitsAllocated } = format;
  const values = new Float32Array(shape.rows * shape.columns);
  const resampler = new RowResampler(
    { sourceRows: rows, sourceColumns: columns, targetRows: shape.rows, targetColumns: shape.columns },
    (row, line) => values.set(line, row * shape.columns),
  );
  const display = createDisplayTransform(format);
  const blockRows = Math.max(1, Math.min(rows, Math.floor(BLOCK_SAMPLES / columns)));
  const block = new Float32Array(blockRows * columns);
  const rowBytes = (columns * bitsAllocated) / 8;
  return {
    push(samples) {
      const count = samples.byteLength / rowBytes;
      for (let row = 0; row < count; row += blockRows) {
        const end = Math.min(count, row + blockRows);
        display(samples.subarray(row * rowBytes, end * rowBytes), block);
        resampler.push(block, end - row);
      }
    },
    finish() {
      const [low, high] = percentilesOf(values.slice(), SHOWN);
      const picture = new Uint8Array(values.length);
      stretch(values, low!, high!, picture);
      return picture;
    },
  };
}

/**
 * As `drawPicture`, of all samples at once.
 * @param samples all samples, row by row, little-endian
 * @returns uint8 [shape.rows, shape.columns]
 */
export function pictureOf(samples: Uint8Array, format: PixelFormat, shape: MapShape): Uint8Array {
  const picture = drawPicture(format, shape);
  picture.push(samples);
  return picture.finish();
}

/** Encodes uint8 [rows, columns] as a JPEG file, for pages: it has a tenth of the size of a PNG file. */
export async function greyJpeg(grey: Uint8Array, { rows, columns }: MapShape): Promise<Uint8Array> {
  const sharp = await loadSharp();
  return sharp(grey, { raw: { width: columns, height: rows, channels: 1 } })
    .jpeg({ quality: 85 })
    .toBuffer();
}
