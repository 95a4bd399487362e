/** Writes the rows of a source image to a working image: resampled, or as they are where both have the same size. */
import type { Placement } from '../../geometry/placement.js';
import { bytesPerSample, type DisplayTransform, type PixelFormat } from '../pixel-format/pixel-format.js';
import { RowResampler } from './resample.js';
import type { WorkingPixels } from './working-pixels.js';

/** Samples converted in one call: many enough that the cost of the call is small, few enough for the cache. */
export const BLOCK_SAMPLES = 32_768;

export interface RowWriter {
  /** Most rows of one call of `steps`. */
  readonly blockRows: number;
  /** Number of source rows received. */
  readonly rowsReceived: number;
  /** Number of rows of the placed image that are written. */
  readonly rowsWritten: number;
  /**
   * Writes the next `rowCount` source rows in steps of about a millisecond.
   * @param samples little-endian [rowCount, columns]
   */
  steps(samples: Uint8Array, rowCount: number): Generator<void>;
}

export interface RowWriterOptions {
  readonly format: PixelFormat;
  readonly placement: Placement;
  readonly workingSize: number;
  readonly transform: DisplayTransform;
  readonly pixels: WorkingPixels;
}

/** Whether the placed image has the size of the source image. */
export function isUnscaled({ rows, columns }: PixelFormat, placement: Placement): boolean {
  return rows === placement.rows && columns === placement.columns;
}

export function createRowWriter(options: RowWriterOptions): RowWriter {
  return options.pixels.takesSamples ? new SampleRows(options) : new ResampledRows(options);
}

function blockRowsOf({ rows, columns }: PixelFormat): number {
  return Math.max(1, Math.min(rows, Math.floor(BLOCK_SAMPLES / columns)));
}

/** Index in the working image of the first sample of a row of the placed image. */
function startOf(row: number, { placement, workingSize }: RowWriterOptions): number {
  return (placement.top + row) * workingSize + placement.left;
}

/** Samples of 8 bits that need no resampling: one look-up each. */
class SampleRows implements RowWriter {
  readonly blockRows: number;
  rowsReceived = 0;

  constructor(private readonly options: RowWriterOptions) {
    this.blockRows = blockRowsOf(options.format);
  }

  get rowsWritten(): number {
    return this.rowsReceived;
  }

  // biome-ignore lint/correctness/useYield: a block is one step
  *steps(samples: Uint8Array, rowCount: number): Generator<void> {
    const { pixels, placement, workingSize } = this.options;
    const { columns } = placement;
    // Rows as wide as the working image are written as one run.
    const run = columns === workingSize ? rowCount : 1;
    for (let row = 0; row < rowCount; row += run) {
      const at = startOf(this.rowsReceived, this.options);
      pixels.writeSamples(samples, row * columns, at, run * columns);
      this.rowsReceived += run;
    }
  }
}

/** Display values of the samples, resampled to the placed image. */
class ResampledRows implements RowWriter {
  readonly blockRows: number;
  private readonly resampler: RowResampler;
  /** Display values of a block of rows. */
  private readonly values: Float32Array;

  constructor(private readonly options: RowWriterOptions) {
    const { format, placement, pixels } = options;
    this.blockRows = blockRowsOf(format);
    this.values = new Float32Array(this.blockRows * format.columns);
    const shape = {
      sourceRows: format.rows,
      sourceColumns: format.columns,
      targetRows: placement.rows,
      targetColumns: placement.columns,
    };
    this.resampler = new RowResampler(shape, (row, values) =>
      pixels.write(values, 0, startOf(row, options), placement.columns),
    );
  }

  get rowsReceived(): number {
    return this.resampler.rowsReceived;
  }

  get rowsWritten(): number {
    return this.resampler.rowsProduced;
  }

  steps(samples: Uint8Array, rowCount: number): Generator<void> {
    const { format, transform } = this.options;
    transform(samples.subarray(0, rowCount * format.columns * bytesPerSample(format)), this.values);
    return this.resampler.steps(this.values, rowCount);
  }
}
