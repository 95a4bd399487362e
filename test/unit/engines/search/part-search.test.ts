import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import * as onnxruntime from 'onnxruntime-node';
import { BestOfParts } from '../../../../src/engines/onnx/best-of-parts.js';
import {
  type PartGraph,
  patchesIn,
  planParts,
  type SearchSource,
  type TilePlan,
} from '../../../../src/engines/search/part-plan.js';
import { type PartNetwork, PartSearch } from '../../../../src/engines/search/part-search.js';
import {
  BLOCK_ROWS,
  needsMaxima,
  productShapes,
  RankedProducts,
} from '../../../../src/engines/search/ranked-products.js';
import { geometryOf, patchesOf, patchOfTile } from '../../../../src/geometry/geometry.js';
import { createRandom } from '../../../../src/util/random.js';
import { randomBank, randomTiles, smallSource } from '../../../reference/small-model.js';

const DIMENSION = 4;

/** Coarse values, so that products tie often. */
function coarse(values: Float32Array): Float32Array {
  return values.map((value) => Math.round(4 * value) / 4);
}

interface Shape {
  readonly cores: number;
  readonly coresPerTile: number;
  readonly patchesPerSide: number;
  readonly radius: number | null;
  readonly perCell: number;
}

function sourceOf(
  { cores, coresPerTile, patchesPerSide, radius, perCell }: Shape,
  seed: number,
): SearchSource {
  const coreSize = 4 * patchesPerSide;
  const geometry = geometryOf(
    { workingSize: cores * coreSize, fit: 'stretch', intensity: { kind: 'window' }, orientation: 'upright' },
    {
      coreSize,
      coresPerTile,
      haloSize: 0,
      patchesPerSide,
      patchStride: 4,
      patchSize: 4,
      patchOffset: 0,
      minStd: 0,
    },
  );
  const bank = randomBank(geometry.patchGrid, perCell, DIMENSION, seed);
  const { search, ...encoder } = smallSource(1, { searchRadius: radius, neighbourCount: 3 });
  return {
    ...encoder,
    geometry,
    search: { bank: { ...bank, prototypes: coarse(bank.prototypes) }, scoring: search.scoring },
  };
}

/** Product of a patch's embedding and a prototype. */
function productOf(embeddings: Float32Array, patch: number, prototypes: Float32Array, row: number): number {
  let sum = 0;
  for (let axis = 0; axis < DIMENSION; axis++) {
    sum += embeddings[patch * DIMENSION + axis]! * prototypes[row * DIMENSION + axis]!;
  }
  return sum;
}

/** Computes the outputs of `buildProductsOnnx` product by product. */
function plainNetwork({ geometry, search: { bank } }: SearchSource, graph: PartGraph): PartNetwork {
  const [down, across] = patchesOf(geometry);
  return {
    run(tiles, embeddings) {
      const products: Float32Array[] = graph.parts.map(({ top, bottom, left, right, rows }) => {
        const values: number[] = [];
        for (let tile = 0; tile < tiles; tile++) {
          for (let y = top; y < bottom; y++) {
            for (let x = left; x < right; x++) {
              const patch = tile * down * across + y * across + x;
              for (const row of rows) values.push(productOf(embeddings, patch, bank.prototypes, row));
            }
          }
        }
        return Float32Array.from(values);
      });
      if (needsMaxima(graph)) products.push(maximaOf(products[0]!, graph.parts[0]!.rows.length));
      productShapes(graph).forEach((shapeOf, index) => {
        assert.equal(
          products[index]!.length,
          shapeOf(tiles).reduce((a, b) => a * b, 1),
        );
      });
      return new RankedProducts(graph, products);
    },
    dispose() {},
  };
}

function maximaOf(products: Float32Array, rows: number): Float32Array {
  const blocks = Math.floor(rows / BLOCK_ROWS);
  const maxima: number[] = [];
  for (let at = 0; at < products.length; at += rows) {
    for (let block = 0; block < blocks; block++) {
      const blockProducts = Array.from(
        { length: BLOCK_ROWS },
        (_, index) => products[at + block + index * blocks]!,
      );
      maxima.push(Math.max(...blockProducts));
    }
  }
  return Float32Array.from(maxima);
}

/** Compares every row of the window. */
function nearestByComparison(
  source: SearchSource,
  embeddings: Float32Array,
  cells: readonly number[],
): number[] {
  const { bank, scoring } = source.search;
  const { patchGrid } = source.geometry;
  return cells.flatMap((cell, patch) => {
    const radius = scoring.searchRadius ?? patchGrid;
    const reached = Array.from({ length: bank.rows }, (_, row) => row).filter(
      (row) =>
        Math.abs(bank.positions[2 * row]! - Math.floor(cell / patchGrid)) <= radius &&
        Math.abs(bank.positions[2 * row + 1]! - (cell % patchGrid)) <= radius,
    );
    return reached
      .map((row) => ({ row, product: productOf(embeddings, patch, bank.prototypes, row) }))
      .sort((a, b) => b.product - a.product || a.row - b.row)
      .slice(0, scoring.neighbourCount)
      .map(({ row }) => row);
  });
}

type Compile = (source: SearchSource, graph: PartGraph, tile: TilePlan) => PartNetwork | Promise<PartNetwork>;

const openSession = (onnx: Uint8Array) => onnxruntime.InferenceSession.create(onnx, { intraOpNumThreads: 1 });
const onOnnxruntime: Compile = (source, graph, tile) =>
  BestOfParts.open(onnxruntime, source, graph, tile, openSession);

async function checkShape(shape: Shape, seed: number, compile: Compile = plainNetwork): Promise<void> {
  const source = sourceOf(shape, seed);
  const { geometry } = source;
  const tiles = randomTiles(source, geometry.tileCount + 2, seed);
  const random = createRandom(seed);
  const length = tiles.count * geometry.patchesPerTile * DIMENSION;
  // Short vectors, so that every product is above OUTSIDE_SIMILARITY.
  const embeddings = coarse(Float32Array.from({ length }, () => random() - 0.5));
  const search = await PartSearch.open(source, (graph, tile) => compile(source, graph, tile));
  const cells = Array.from({ length: tiles.count }, (_, tile) =>
    Array.from({ length: geometry.patchesPerTile }, (_unused, within) =>
      patchOfTile(geometry, tiles.positions[2 * tile]!, tiles.positions[2 * tile + 1]!, within),
    ),
  ).flat();
  assert.deepEqual(
    [...(await search.nearest(tiles, embeddings))],
    nearestByComparison(source, embeddings, cells),
  );
  await search.dispose();
}

describe('search in parts of the bank', () => {
  const shapes = fc
    .record({
      patchesPerSide: fc.integer({ min: 1, max: 4 }),
      tilesAcross: fc.integer({ min: 1, max: 3 }),
      coresPerTile: fc.integer({ min: 1, max: 4 }),
      radius: fc.option(fc.integer({ min: 0, max: 5 })),
      perCell: fc.integer({ min: 3, max: 5 }),
    })
    .map(({ tilesAcross, coresPerTile, ...rest }) => ({
      ...rest,
      coresPerTile,
      cores: tilesAcross * coresPerTile,
    }))
    // Limits the time of the comparison of every patch with every row.
    .filter(({ cores, patchesPerSide }) => cores * patchesPerSide <= 18);

  it('finds the same rows as a search of the whole window, for all tile shapes, ties to the lowest row', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, fc.nat(1000), (shape, seed) => checkShape(shape, seed)),
      { numRuns: 60 },
    );
  });

  it('finds the same rows where onnxruntime chooses the best of every part', async () => {
    const windows = shapes.filter(
      ({ radius, patchesPerSide, coresPerTile }) =>
        radius !== null && patchesPerSide ** 2 * coresPerTile >= 8,
    );
    const finds = fc.asyncProperty(windows, fc.nat(1000), (shape, seed) =>
      checkShape(shape, seed, onOnnxruntime),
    );
    await fc.assert(finds, { numRuns: 20 });
  });

  it('finds the same rows in a whole bank, where it skips blocks by their largest product', async () => {
    const shape = { cores: 6, coresPerTile: 1, patchesPerSide: 1, radius: null, perCell: 31 };
    const { graphs } = planParts(sourceOf(shape, 1));
    assert.ok(needsMaxima(graphs[0]!));
    assert.notEqual(graphs[0]!.parts[0]!.rows.length % BLOCK_ROWS, 0);
    for (const seed of [1, 2, 3]) await checkShape(shape, seed);
  });

  it('multiplies each row of the bank once for a tile, with only the patches that reach it', () => {
    const source = sourceOf({ cores: 8, coresPerTile: 8, patchesPerSide: 2, radius: 1, perCell: 3 }, 4);
    const { graphs } = planParts(source);
    for (const { parts } of graphs) {
      const rows = parts.flatMap((part) => [...part.rows]);
      assert.equal(new Set(rows).size, rows.length);
    }
    // A row of tiles reaches 4 of 16 rows of cells; 9 of 16 patches reach half of a row of cells.
    const products = graphs[3]!.parts.reduce((sum, part) => sum + patchesIn(part) * part.rows.length, 0);
    assert.equal(products, (1 + 2 + 2 + 1) * 2 * 9 * 8 * 3);
  });
});
