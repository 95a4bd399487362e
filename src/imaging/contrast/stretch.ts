/** Stretches contrast between percentiles of the whole image. */

import type { Geometry } from '../../geometry/geometry.js';
import type { Placement } from '../../geometry/placement.js';
import type { InputSpec } from '../../geometry/specifications.js';
import { tileColumnOf, tileRowOf } from '../../geometry/tile-index.js';
import type { PixelFormat } from '../pixel-format/pixel-format.js';
import type { TileCoverage } from '../tiles/tile-coverage.js';
import { lookUp, percentilesOfCounts, SampleCounts, toByte } from './byte-table.js';

/** The percentiles of a model that uses percentiles; for other models those of the header. */
export function percentileRange(input: InputSpec, format: PixelFormat): [number, number] {
  if (input.intensity.kind === 'percentile') return [input.intensity.low, input.intensity.high];
  if (format.voi.kind === 'auto') return [format.voi.lowPercentile, format.voi.highPercentile];
  return [0, 100];
}

/** Maps [low, high] to [0, 255]; an image without contrast becomes black up to `high` and white above. */
export function stretch(values: Float32Array, low: number, high: number, pixels: Uint8Array): void {
  const scale = high > low ? 255 / (high - low) : 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    pixels[i] = scale > 0 ? toByte((value - low) * scale) : value > high ? 255 : 0;
  }
}

/**
 * Stretches 8-bit samples in place: percentiles from 256 counts, then one look-up for each pixel. The result is
 * that of `stretch` for their display values.
 * @param pixels uint8 [workingSize, workingSize] samples as received
 * @param display display value of each sample
 */
export function stretchSamples(
  pixels: Uint8Array,
  display: Float32Array,
  percentiles: readonly [number, number],
  tiles: TileCoverage,
  geometry: Geometry,
  placement: Placement,
): void {
  const { coreSize, coreColumns, workingSize } = geometry;
  const received = tiles.receivedTiles();
  const counts = new SampleCounts();
  for (const tile of received) {
    const [row, column] = [tileRowOf(geometry, tile), tileColumnOf(geometry, tile)];
    const { top, left, bottom, right } = tiles.placedBox(row, column, placement);
    for (let y = top; y < bottom && left < right; y++)
      counts.add(pixels, y * workingSize + left, right - left);
  }
  const [low, high] = percentilesOfCounts(counts.total(), display, percentiles);
  const table = new Uint8Array(256);
  stretch(display, low!, high!, table);
  for (const tile of received) {
    const [row, column] = [tileRowOf(geometry, tile), tileColumnOf(geometry, tile)];
    for (let y = row * coreSize; y < (row + 1) * coreSize; y++) {
      const at = y * workingSize + column * coreColumns;
      lookUp(table, pixels, at, pixels, at, coreColumns);
    }
  }
}
