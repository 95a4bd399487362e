/** Checks that the content of a bundle is consistent. */
import { SaladError } from '../errors/index.js';
import { type Geometry, geometryOf, patchesOf } from '../geometry/geometry.js';
import { inputWidthOf, type Weights } from '../network/description.js';
import { checkWeights, inferShapes } from '../network/shapes.js';
import { checkMemoryBank, type MemoryBank } from '../scoring/memory-bank.js';
import { needsWholeImage } from '../scoring/patch-z.js';
import type { PlausibilityTensors } from '../scoring/plausibility.js';
import { type Manifest, manifestSchema } from './manifest.js';

/** Tiles of real images, and the scores that every engine must reproduce. */
export interface GoldenBatch {
  /** u8 [n, tileHeight, tileWidth]. */
  readonly pixels: Uint8Array;
  /** int32 [n, 2]: tile row, tile column. */
  readonly positions: Int32Array;
  /** float32 [n, patchesPerTile]. */
  readonly scores: Float32Array;
}

export interface BundleContent {
  readonly manifest: Manifest;
  readonly weights: Weights;
  readonly bank: MemoryBank;
  readonly golden: GoldenBatch;
  readonly plausibility?: PlausibilityTensors;
}

export function invalidBundle(message: string, cause?: unknown): SaladError {
  return new SaladError('BUNDLE_INVALID', message, cause === undefined ? {} : { cause });
}

/**
 * @param value the parsed JSON of manifest.json.
 * @throws SaladError BUNDLE_INVALID naming every bad key by its path.
 */
export function parseManifest(value: unknown): Manifest {
  const result = manifestSchema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => {
    const path = issue.path.map(String).join('.') || '(root)';
    return `${path}: ${issue.message}`;
  });
  throw invalidBundle(`manifest.json: ${problems.join('; ')}`);
}

function checkAscending(values: readonly number[], path: string): void {
  for (let index = 1; index < values.length; index++) {
    if (values[index]! < values[index - 1]!) throw invalidBundle(`manifest.json: ${path} must be ascending`);
  }
}

function checkTables(
  tables: Pick<Manifest['calibration'], 'patchMedian' | 'patchMad'>,
  geometry: Geometry,
  path: string,
): void {
  const cells = geometry.patchGrid ** 2;
  for (const key of ['patchMedian', 'patchMad'] as const) {
    if (tables[key].length === cells) continue;
    throw invalidBundle(
      `manifest.json: ${path}.${key} has ${tables[key].length} cells; the patch grid has ${cells}`,
    );
  }
}

function checkSecondView({ bank, calibration, scoring }: Manifest, geometry: Geometry): void {
  const { secondView } = calibration;
  if (geometry.tileCount > 1 && needsWholeImage({ scoring, calibration })) {
    throw invalidBundle(
      'manifest.json: scoring.blur and calibration.secondView need a tile of the whole image',
    );
  }
  if (secondView === undefined) return;
  checkTables(secondView, geometry, 'calibration.secondView');
  if (secondView.weights.length !== bank.dimension) {
    throw invalidBundle(
      `manifest.json: calibration.secondView.weights has ${secondView.weights.length} numbers; an embedding has ${bank.dimension}`,
    );
  }
}

function checkManifest(manifest: Manifest, geometry: Geometry): void {
  const { calibration, input, network, scoring } = manifest;
  checkTables(calibration, geometry, 'calibration');
  checkSecondView(manifest, geometry);
  checkAscending(calibration.patchZQuantiles, 'calibration.patchZQuantiles');
  checkAscending(calibration.imageScores, 'calibration.imageScores');
  for (const { name, imageScores } of calibration.strata ?? []) {
    checkAscending(imageScores, `calibration.strata of ${name}`);
  }
  if (input.intensity.kind === 'percentile' && input.intensity.low >= input.intensity.high) {
    throw invalidBundle('manifest.json: input.intensity.low must be below high');
  }
  if (2 * scoring.aggregate.margin >= geometry.patchGrid) {
    throw invalidBundle('manifest.json: scoring.aggregate.margin leaves no patch');
  }
  const { tileHeight, tileWidth } = geometry;
  if (network.inputSize !== tileHeight || inputWidthOf(network) !== tileWidth) {
    throw invalidBundle(
      `manifest.json: the network takes ${network.inputSize} x ${inputWidthOf(network)} pixels, ` +
        `a tile has ${tileHeight} x ${tileWidth}`,
    );
  }
}

function checkBank(content: BundleContent, geometry: Geometry): void {
  const { manifest, bank } = content;
  const output = inferShapes(manifest.network).get(manifest.network.output)!;
  const [rows, columns] = patchesOf(geometry);
  if (output.height !== rows || output.width !== columns) {
    throw invalidBundle(
      `the network gives ${output.height} x ${output.width} patches, tiling says ${rows} x ${columns}`,
    );
  }
  if (output.channels !== bank.dimension || manifest.bank.dimension !== bank.dimension) {
    throw invalidBundle(
      `the network gives ${output.channels} values per patch, the manifest says ${manifest.bank.dimension}, ` +
        `the bank has ${bank.dimension}`,
    );
  }
  if (manifest.bank.rows !== bank.rows) {
    throw invalidBundle(`bank.rows is ${manifest.bank.rows}, the bank has ${bank.rows}`);
  }
  checkMemoryBank(bank, geometry.patchGrid, manifest.scoring);
  const images = manifest.training.sourceImages.length;
  if (!bank.sources.every((source) => source >= 0 && source < images)) {
    throw invalidBundle('memory bank: a source is not an index into training.sourceImages');
  }
}

function checkGolden(golden: GoldenBatch, geometry: Geometry): void {
  const count = golden.positions.length / 2;
  if (
    count < 1 ||
    golden.pixels.length !== count * geometry.tilePixels ||
    golden.scores.length !== count * geometry.patchesPerTile
  ) {
    throw invalidBundle(
      'golden batch: the sizes of pixels, positions and scores do not match each other and the geometry',
    );
  }
  const limits = [geometry.tileRows, geometry.tileColumns];
  if (!golden.positions.every((at, axis) => at >= 0 && at < limits[axis % 2]!)) {
    throw invalidBundle('golden batch: a position lies outside the tile grid');
  }
  if (!golden.scores.every(Number.isFinite)) throw invalidBundle('golden batch: a score is not finite');
}

function checkPlausibility({ manifest, plausibility: tensors }: BundleContent, geometry: Geometry): void {
  const { plausibility: spec, bank } = manifest;
  if ((spec === undefined) !== (tensors === undefined)) {
    throw invalidBundle('manifest.json: plausibility and its tensors belong together');
  }
  if (spec === undefined || tensors === undefined) return;
  if (geometry.tileCount > 1) {
    throw invalidBundle('manifest.json: plausibility needs a tile of the whole image');
  }
  const size = spec.regions ** 2 * bank.dimension;
  const { mean, scale, mirror, components, variances } = tensors;
  const fits = [mean, scale, mirror].every(({ length }) => length === size);
  if (!fits || components.length !== variances.length * size || spec.regions > geometry.patchGrid) {
    throw invalidBundle(`plausibility: ${spec.regions} regions per side need tensors of ${size} numbers`);
  }
}

/** @throws SaladError BUNDLE_INVALID with the first inconsistency. */
export function checkBundle(content: BundleContent): Geometry {
  const { manifest } = content;
  const geometry = geometryOf(manifest.input, manifest.tiling);
  checkManifest(manifest, geometry);
  checkWeights(manifest.network, content.weights);
  checkBank(content, geometry);
  checkGolden(content.golden, geometry);
  checkPlausibility(content, geometry);
  return geometry;
}
