import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { type ErrorReason, SaladError } from '../../../../src/errors/index.js';
import { type Geometry, geometryOf } from '../../../../src/geometry/geometry.js';
import type { InputSpec } from '../../../../src/geometry/specifications.js';
import {
  allTiles,
  type TileIndex,
  tileColumnOf,
  tileIndexAt,
  tilePositionOf,
  tileRowOf,
} from '../../../../src/geometry/tile-index.js';
import {
  createDisplayTransform,
  defaultPixelFormat,
  type PixelFormat,
} from '../../../../src/imaging/pixel-format/pixel-format.js';
import { resampleImage } from '../../../../src/imaging/working-image/resample.js';
import { WorkingImage } from '../../../../src/imaging/working-image/working-image.js';

const inputSpec = (workingSize: number, more: Partial<InputSpec> = {}): InputSpec => ({
  workingSize,
  fit: 'stretch',
  intensity: { kind: 'window' },
  orientation: 'head up',
  ...more,
});

/** @param cores down and across the working image */
function gridOf(cores: number, coreSize: number, haloSize: number, coresPerTile = 1, minStd = 0): Geometry {
  return geometryOf(inputSpec(cores * coreSize), {
    coreSize,
    coresPerTile,
    haloSize,
    patchesPerSide: 1,
    patchStride: coreSize,
    patchSize: coreSize,
    patchOffset: 0,
    minStd,
  });
}

/** Deterministic noise in [0, 2^bits). */
function noiseBytes(count: number, bits: 8 | 16, seed: number): Uint8Array {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  return Uint8Array.from({ length: count * (bits / 8) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

function rejects(action: () => unknown, reason: ErrorReason): void {
  assert.throws(action, (error: unknown) => error instanceof SaladError && error.reason === reason);
}

const ascending = (tiles: readonly TileIndex[]): TileIndex[] => tiles.toSorted((a, b) => a - b);

function cut(image: WorkingImage, tile: TileIndex): Uint8Array {
  const pixels = new Uint8Array(image.geometry.tilePixels);
  image.cutTile(tile, pixels);
  return pixels;
}

function push(image: WorkingImage, tile: TileIndex, samples: Uint8Array): TileIndex[] {
  return image.pushTile(tileRowOf(image.geometry, tile), tileColumnOf(image.geometry, tile), samples);
}

/** A tile by the definition of reflection, pixel by pixel. */
function cutByDefinition(image: WorkingImage, tile: TileIndex): Uint8Array {
  const { row, column } = tilePositionOf(image.geometry, tile);
  const { workingSize: size, coreSize, coreColumns, haloSize, tilePixels, tileWidth } = image.geometry;
  const mirror = (at: number): number => (at < 0 ? -at : at >= size ? 2 * size - 2 - at : at);
  return Uint8Array.from({ length: tilePixels }, (_, i) => {
    const y = mirror(row * coreSize - haloSize + Math.floor(i / tileWidth));
    const x = mirror(column * coreColumns - haloSize + (i % tileWidth));
    return image.pixels[y * size + x]!;
  });
}

/** An image with all its rows in one message. */
function whole(geometry: Geometry, input: InputSpec, format: PixelFormat, samples: Uint8Array): WorkingImage {
  const image = new WorkingImage(geometry, input, format, 0, 'rows');
  image.pushRows(samples);
  image.complete();
  return image;
}

function coreBytes(image: WorkingImage, tile: TileIndex): Uint8Array {
  const { row, column } = tilePositionOf(image.geometry, tile);
  const { coreSize, coreColumns, workingSize } = image.geometry;
  return Uint8Array.from({ length: coreSize * coreColumns }, (_, i) => {
    const y = row * coreSize + Math.floor(i / coreColumns);
    return image.pixels[y * workingSize + column * coreColumns + (i % coreColumns)]!;
  });
}

/** Square tiles, strips of two or three cores, and whole rows of cores. */
const geometries = fc
  .record({
    cores: fc.integer({ min: 1, max: 6 }),
    coreSize: fc.integer({ min: 2, max: 7 }),
    coresPerTile: fc.integer({ min: 1, max: 6 }),
  })
  .filter(({ cores, coreSize, coresPerTile }) => cores * coreSize >= 8 && cores % coresPerTile === 0)
  .chain(({ cores, coreSize, coresPerTile }) =>
    fc
      .integer({ min: 0, max: cores * coreSize - 1 })
      .map((haloSize) => gridOf(cores, coreSize, haloSize, coresPerTile)),
  );

const acquisitions = fc.record({
  geometry: geometries,
  rows: fc.integer({ min: 1, max: 60 }),
  columns: fc.integer({ min: 1, max: 60 }),
  bits: fc.constantFrom(8 as const, 16 as const),
  fit: fc.constantFrom('stretch' as const, 'pad' as const),
  seed: fc.integer(),
  chunks: fc.array(fc.integer({ min: 1, max: 25 }), { minLength: 60, maxLength: 60 }),
});

describe('WorkingImage', () => {
  it('writes the rows of an image of its size without resampling, for 8 and 16 bits, with and without a window', () => {
    const windowed = { kind: 'window', center: 90, width: 120, function: 'linear' } as const;
    for (const bits of [8, 16] as const) {
      for (const voi of [{ kind: 'fullRange' } as const, windowed]) {
        for (const [rows, columns] of [
          [24, 24],
          [12, 24],
          [24, 12],
        ] as const) {
          const geometry = gridOf(6, 4, 2);
          const format: PixelFormat = { ...defaultPixelFormat(rows, columns, bits), voi };
          const samples = noiseBytes(rows * columns, bits, rows + columns);
          const image = new WorkingImage(geometry, inputSpec(24, { fit: 'pad' }), format, 0, 'rows');
          const rowBytes = samples.length / rows;
          image.pushRows(samples.subarray(0, 5 * rowBytes));
          image.pushRows(samples.subarray(5 * rowBytes));
          const values = new Float32Array(rows * columns);
          createDisplayTransform(format)(samples, values);
          const { top, left } = image.placement;
          values.forEach((value, i) => {
            const at = (top + Math.floor(i / columns)) * 24 + left + (i % columns);
            assert.equal(image.pixels[at], Math.floor(value + 0.5), `${bits} bits, sample ${i}`);
          });
        }
      }
    }
  });

  it('is identical from messages of rows, from all rows at once and from tiles in any order', () => {
    fc.assert(
      fc.property(acquisitions, ({ geometry, rows, columns, bits, fit, seed, chunks }) => {
        const input = inputSpec(geometry.workingSize, { fit });
        const format = defaultPixelFormat(rows, columns, bits);
        const samples = noiseBytes(rows * columns, bits, seed);
        const reference = whole(geometry, input, format, samples);

        const streamed = new WorkingImage(geometry, input, format, 0, 'rows');
        const readyFromRows: TileIndex[] = [];
        const rowBytes = samples.length / rows;
        for (let at = 0, i = 0; at < rows; i++) {
          const end = Math.min(rows, at + chunks[i]!);
          const ready = streamed.pushRows(samples.subarray(at * rowBytes, end * rowBytes));
          // A ready tile must have its final pixels.
          for (const tile of ready) assert.deepEqual(cut(streamed, tile), cut(reference, tile));
          readyFromRows.push(...ready);
          at = end;
        }

        const tiled = new WorkingImage(geometry, input, defaultPixelFormat(rows, columns, 8), 0, 'tiles');
        const readyFromTiles: TileIndex[] = [];
        const order = allTiles(geometry).sort((a, b) => hash(geometry, a, seed) - hash(geometry, b, seed));
        for (const tile of order) {
          const ready = push(tiled, tile, coreBytes(reference, tile));
          for (const done of ready) assert.deepEqual(cut(tiled, done), cut(reference, done));
          readyFromTiles.push(...ready);
        }

        for (const [image, ready] of [
          [streamed, readyFromRows],
          [tiled, readyFromTiles],
        ] as const) {
          assert.ok(image.isComplete);
          assert.deepEqual(image.complete(), []);
          assert.deepEqual(image.missingTiles(), []);
          assert.deepEqual(image.pixels, reference.pixels);
          assert.deepEqual(ascending(ready), allTiles(geometry));
          for (const tile of ready) assert.deepEqual(cut(image, tile), cutByDefinition(reference, tile));
        }
      }),
      { seed: 21, numRuns: 120 },
    );
  });

  it('reports a tile with exactly the row that completes its core and halo', () => {
    fc.assert(
      fc.property(geometries, (geometry) => {
        const size = geometry.workingSize;
        const image = new WorkingImage(
          geometry,
          inputSpec(size),
          defaultPixelFormat(size, size, 8),
          0,
          'rows',
        );
        for (let rows = 1; rows <= size; rows++) {
          const expected = allTiles(geometry).filter(
            (tile) =>
              Math.min(size, (tileRowOf(geometry, tile) + 1) * geometry.coreSize + geometry.haloSize) ===
              rows,
          );
          assert.deepEqual(image.pushRows(new Uint8Array(size)), expected);
        }
      }),
      { seed: 22, numRuns: 60 },
    );
  });

  it('reports a tile with exactly the neighbour that completes its core and halo', () => {
    fc.assert(
      fc.property(geometries, fc.integer(), (geometry, seed) => {
        const { coreSize, coreColumns, haloSize, workingSize } = geometry;
        const image = new WorkingImage(
          geometry,
          inputSpec(workingSize),
          defaultPixelFormat(workingSize, workingSize, 8),
          0,
          'tiles',
        );
        const received = new Set<TileIndex>();
        // Pixel by pixel: the tile's window, clipped to the image, lies in received cores.
        const isCovered = (tile: TileIndex): boolean => {
          const range = (at: number, size: number): Set<number> => {
            const first = Math.max(0, at * size - haloSize);
            const end = Math.min(workingSize, (at + 1) * size + haloSize);
            return new Set(Array.from({ length: end - first }, (_, i) => Math.floor((first + i) / size)));
          };
          const columns = [...range(tileColumnOf(geometry, tile), coreColumns)];
          const rows = [...range(tileRowOf(geometry, tile), coreSize)];
          return rows.every((r) => columns.every((c) => received.has(tileIndexAt(geometry, r, c))));
        };
        for (const tile of allTiles(geometry).sort(
          (a, b) => hash(geometry, a, seed) - hash(geometry, b, seed),
        )) {
          const before = new Set(allTiles(geometry).filter(isCovered));
          received.add(tile);
          const expected = allTiles(geometry).filter((t) => isCovered(t) && !before.has(t));
          const ready = push(image, tile, new Uint8Array(coreSize * coreColumns));
          assert.deepEqual(ascending(ready), expected);
          const uncovered = allTiles(geometry).filter((t) => !isCovered(t));
          assert.deepEqual(image.missingTiles(), uncovered);
        }
      }),
      { seed: 23, numRuns: 40 },
    );
  });

  it('lists the tiles whose core or halo is missing from a truncated stream of rows', () => {
    const geometry = gridOf(4, 8, 3);
    const image = new WorkingImage(geometry, inputSpec(32), defaultPixelFormat(32, 32, 8), 0, 'rows');
    const ready = image.pushRows(new Uint8Array(32 * 18));
    assert.deepEqual([...new Set(ready.map((t) => tileRowOf(geometry, t)))], [0]);
    assert.ok(!image.isComplete);
    assert.deepEqual(image.complete(), []);
    assert.deepEqual(
      image.missingTiles(),
      allTiles(geometry).filter((t) => tileRowOf(geometry, t) > 0),
    );
  });

  it('stretches by percentiles over the whole image only when it is complete', () => {
    const geometry = gridOf(2, 8, 2);
    const input = inputSpec(16, { intensity: { kind: 'percentile', low: 10, high: 90 } });
    const image = new WorkingImage(geometry, input, defaultPixelFormat(16, 16, 8), 0, 'rows');
    const samples = Uint8Array.from({ length: 256 }, (_, i) => (i * 7) % 256);
    assert.equal(image.streamable, false);
    assert.deepEqual(image.pushRows(samples), []);
    assert.deepEqual(image.complete(), allTiles(geometry));
    // The samples are all of 0..255 once: percentile p is 255 p / 100.
    const expected = samples.map((v) =>
      Math.min(255, Math.max(0, Math.floor(((v - 25.5) / 204) * 255 + 0.5))),
    );
    assert.deepEqual(image.pixels, expected);
    assert.deepEqual(image.complete(), []);
  });

  it("uses the header's percentiles for an automatic window and says so", () => {
    const geometry = gridOf(2, 8, 0);
    const format: PixelFormat = {
      ...defaultPixelFormat(16, 16, 8),
      voi: { kind: 'auto', lowPercentile: 0, highPercentile: 50 },
    };
    const image = new WorkingImage(geometry, inputSpec(16), format, 0, 'tiles');
    assert.ok(image.usesAutoWindow && !image.streamable);
    for (const [i, tile] of allTiles(geometry).entries()) {
      push(image, tile, new Uint8Array(64).fill(10 + i * 10));
    }
    assert.equal(image.complete().length, 4);
    // Values 10, 20, 30, 40 in equal parts: the median lies between 20 and 30.
    assert.deepEqual([...new Set(image.pixels)], [0, Math.floor((10 / 15) * 255 + 0.5), 255]);
  });

  it('computes percentiles of the image without the padding around it', () => {
    const geometry = gridOf(2, 8, 0);
    const input = inputSpec(16, { fit: 'pad', intensity: { kind: 'percentile', low: 0, high: 100 } });
    const image = new WorkingImage(geometry, input, defaultPixelFormat(8, 16, 8), 0, 'rows');
    image.pushRows(Uint8Array.from({ length: 128 }, (_, i) => (i % 2 === 0 ? 100 : 200)));
    image.complete();
    assert.deepEqual([...image.pixels.subarray(4 * 16, 4 * 16 + 2)], [0, 255]);
    assert.deepEqual([...image.pixels.subarray(0, 64)], new Array(64).fill(0));
  });

  it('stretches a truncated percentile image by the received pixels and returns the covered tiles', () => {
    const geometry = gridOf(2, 8, 2);
    const input = inputSpec(16, { intensity: { kind: 'percentile', low: 0, high: 100 } });
    for (const source of ['rows', 'tiles'] as const) {
      const image = new WorkingImage(geometry, input, defaultPixelFormat(16, 16, 8), 0, source);
      const ramp = (count: number): Uint8Array => Uint8Array.from({ length: count }, (_, i) => 100 + (i % 8));
      if (source === 'rows') image.pushRows(ramp(16 * 10));
      else image.pushTile(0, 0, ramp(64));
      const expected = source === 'rows' ? allTiles(geometry).slice(0, 2) : [];
      assert.deepEqual(image.complete(), expected);
      assert.equal(image.missingTiles().length, 4 - expected.length);
      assert.deepEqual([image.pixels[0], image.pixels[7]], [0, 255]);
    }
  });

  it('stretches 8-bit tiles by their counts exactly as 16-bit tiles with the same values', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1000 }),
        fc.boolean(),
        fc.constantFrom('stretch' as const, 'pad' as const),
        fc.uniqueArray(fc.integer({ min: 0, max: 8 }), { minLength: 1, maxLength: 9 }),
        (seed, monochrome1, fit, sent) => {
          const geometry = gridOf(3, 8, 3);
          const input = inputSpec(24, { fit, intensity: { kind: 'percentile', low: 3, high: 95 } });
          const narrow = { ...defaultPixelFormat(40, 24, 8), monochrome1 };
          const wide = { ...defaultPixelFormat(40, 24, 16, 8), monochrome1 };
          const [byCounts, byValues] = [narrow, wide].map((format) => {
            const image = new WorkingImage(geometry, input, format, 0, 'tiles');
            for (const tile of sent) {
              const samples = noiseBytes(64, 8, seed + tile);
              const bytes =
                format === narrow
                  ? samples
                  : Uint8Array.from({ length: 128 }, (_, at) => (at % 2 ? 0 : samples[at / 2]!));
              image.pushTile(Math.floor(tile / 3), tile % 3, bytes);
            }
            return { ready: image.complete(), pixels: image.pixels };
          });
          assert.deepEqual(byCounts, byValues);
        },
      ),
    );
  });

  it('makes a percentile image without contrast black', () => {
    const geometry = gridOf(1, 8, 0);
    const input = inputSpec(8, { intensity: { kind: 'percentile', low: 1, high: 99 } });
    const image = whole(geometry, input, defaultPixelFormat(8, 8, 8), new Uint8Array(64).fill(77));
    assert.deepEqual(new Set(image.pixels), new Set([0]));
  });

  it('reports a tile as background where the standard deviation of its core is below the limit', () => {
    const geometry = gridOf(2, 8, 3);
    const format = defaultPixelFormat(16, 16, 8);
    // Tile (0, 1) alternates 100 and 104: its standard deviation is 2. The others are flat.
    const samples = new Uint8Array(256).fill(100);
    for (let y = 0; y < 8; y++) for (let x = 8; x < 16; x += 2) samples[y * 16 + x] = 104;
    for (const [minStd, expected] of [
      [0, []],
      [1.9, [0, 2, 3]],
      [2.1, [0, 1, 2, 3]],
    ] as const) {
      const image = new WorkingImage(geometry, inputSpec(16), format, minStd, 'rows');
      image.pushRows(samples);
      const background = allTiles(geometry).filter((t) => image.isBackground(t));
      assert.deepEqual(background, expected);
    }
  });

  it('decides background for each core of a strip separately', () => {
    const geometry = { ...gridOf(4, 8, 3, 4), patchesPerSide: 2, patchesPerTile: 16, patchGrid: 8 };
    const image = new WorkingImage(geometry, inputSpec(32), defaultPixelFormat(32, 32, 8), 1, 'rows');
    const samples = new Uint8Array(32 * 32).fill(100);
    // Row of tiles 1: the second and the last core have texture. All others are flat.
    for (let y = 8; y < 16; y++) for (const x of [9, 13, 30]) samples[y * 32 + x] = 140;
    image.pushRows(samples);
    assert.deepEqual(
      allTiles(geometry).map((tile) => image.isBackground(tile)),
      [true, false, true, true],
    );
    // Patch rows 2 and 3, columns 0, 1 of the first and 4, 5 of the third core.
    assert.deepEqual(image.backgroundPatches(tileIndexAt(geometry, 1, 0)), [16, 17, 20, 21, 24, 25, 28, 29]);
  });

  it('is identical from tiles of display values and from the rows that they were computed from', () => {
    const intensities = [{ kind: 'window' }, { kind: 'percentile', low: 1, high: 99 }] as const;
    const voi = fc.constantFrom(
      { kind: 'fullRange' } as const,
      { kind: 'window', function: 'linear', center: 100, width: 90 } as const,
      { kind: 'window', function: 'sigmoid', center: 128, width: 60 } as const,
      { kind: 'auto', lowPercentile: 5, highPercentile: 90 } as const,
    );
    fc.assert(
      fc.property(
        acquisitions,
        fc.constantFrom(...intensities),
        voi,
        fc.boolean(),
        ({ geometry, rows, columns, bits, fit, seed }, intensity, transform, monochrome1) => {
          const input = inputSpec(geometry.workingSize, { fit, intensity });
          const format = { ...defaultPixelFormat(rows, columns, bits), monochrome1, voi: transform };
          const samples = noiseBytes(rows * columns, bits, seed);
          const reference = whole(geometry, input, format, samples);

          const { top, left, ...placed } = reference.placement;
          const display = new Float32Array(rows * columns);
          createDisplayTransform(format)(samples, display);
          const resampled = resampleImage(display, {
            sourceRows: rows,
            sourceColumns: columns,
            targetRows: placed.rows,
            targetColumns: placed.columns,
          });
          const plain = defaultPixelFormat(rows, columns, 32, bits);
          const ofTiles = transform.kind === 'auto' ? { ...plain, voi: transform } : plain;
          const tiled = new WorkingImage(geometry, input, ofTiles, 0, 'tiles');
          for (const tile of allTiles(geometry).sort(
            (a, b) => hash(geometry, a, seed) - hash(geometry, b, seed),
          )) {
            const core = new Float32Array(geometry.coreSize * geometry.coreColumns);
            for (let i = 0; i < core.length; i++) {
              const { row, column } = tilePositionOf(geometry, tile);
              const y = row * geometry.coreSize + Math.floor(i / geometry.coreColumns) - top;
              const x = column * geometry.coreColumns + (i % geometry.coreColumns) - left;
              const isInside = y >= 0 && y < placed.rows && x >= 0 && x < placed.columns;
              if (isInside) core[i] = resampled[y * placed.columns + x]!;
            }
            push(tiled, tile, new Uint8Array(core.buffer));
          }
          tiled.complete();
          assert.deepEqual(tiled.pixels, reference.pixels);
          assert.equal(tiled.isEmpty, reference.isEmpty);
        },
      ),
      { seed: 24, numRuns: 150 },
    );
  });

  it('refuses display values outside of their range, and 32 bits for rows', () => {
    const geometry = gridOf(2, 8, 0);
    const format = defaultPixelFormat(16, 16, 32);
    rejects(() => new WorkingImage(geometry, inputSpec(16), format, 0, 'rows'), 'HEADER_INVALID');
    for (const wrong of [-1, 256, 4095, Number.NaN, Number.POSITIVE_INFINITY]) {
      const tiles = new WorkingImage(geometry, inputSpec(16), format, 0, 'tiles');
      const samples = new Float32Array(64).fill(100);
      samples[63] = wrong;
      rejects(() => tiles.pushTile(0, 0, new Uint8Array(samples.buffer)), 'SAMPLE_INVALID');
      // The image is unchanged: the tile may be sent again. Rounding errors of filters are accepted.
      samples[63] = 255.000_02;
      tiles.pushTile(0, 0, new Uint8Array(samples.buffer));
    }
  });

  it('processes large messages of any shape in steps', () => {
    const [rows, columns] = [65_535, 1];
    const geometry = gridOf(8, 64, 0);
    const image = new WorkingImage(geometry, inputSpec(512), defaultPixelFormat(rows, columns, 8), 0, 'rows');
    const steps = [...image.rowSteps(new Uint8Array(rows * columns))];
    // 512 values of every row: 33 million in steps of one million.
    assert.ok(steps.length > 60, `${steps.length} steps`);
    const wide = new WorkingImage(geometry, inputSpec(512), defaultPixelFormat(1, rows, 8), 0, 'rows');
    assert.ok([...wide.rowSteps(new Uint8Array(rows))].length >= 1);
    assert.ok(wide.isComplete && image.isComplete);
  });

  it('refuses wrong sample counts and leaves the image unchanged', () => {
    const geometry = gridOf(2, 8, 0);
    const rows = new WorkingImage(geometry, inputSpec(16), defaultPixelFormat(16, 10, 16), 0, 'rows');
    for (const bytes of [0, 19, 21, 20 * 17]) {
      rejects(() => rows.pushRows(new Uint8Array(bytes)), 'SAMPLE_COUNT_MISMATCH');
    }
    rows.pushRows(new Uint8Array(20 * 16));
    assert.equal(rows.rowsReceived, 16);
    rejects(() => rows.pushRows(new Uint8Array(20)), 'SAMPLE_COUNT_MISMATCH');
    const tiles = new WorkingImage(geometry, inputSpec(16), defaultPixelFormat(16, 16, 16), 0, 'tiles');
    rejects(() => tiles.pushTile(0, 0, new Uint8Array(64)), 'SAMPLE_COUNT_MISMATCH');
    assert.equal(tiles.missingTiles().length, 4);
    tiles.pushTile(0, 0, new Uint8Array(128));
  });

  it('refuses tiles outside the grid and tiles sent twice', () => {
    const geometry = gridOf(2, 8, 0);
    const image = new WorkingImage(geometry, inputSpec(16), defaultPixelFormat(16, 16, 8), 0, 'tiles');
    const tile = new Uint8Array(64);
    for (const [row, column] of [
      [2, 0],
      [0, 2],
      [-1, 0],
      [0.5, 0],
    ] as const) {
      rejects(() => image.pushTile(row, column, tile), 'TILE_OUT_OF_GRID');
    }
    image.pushTile(1, 1, tile);
    rejects(() => image.pushTile(1, 1, tile), 'TILE_DUPLICATE');
  });

  it('refuses messages of the other source, and any message after the end', () => {
    const geometry = gridOf(1, 8, 0);
    const format = defaultPixelFormat(8, 8, 8);
    const rows = new WorkingImage(geometry, inputSpec(8), format, 0, 'rows');
    rejects(() => rows.pushTile(0, 0, new Uint8Array(64)), 'MESSAGE_UNEXPECTED');
    rows.complete();
    rejects(() => rows.pushRows(new Uint8Array(8)), 'MESSAGE_UNEXPECTED');
    const tiles = new WorkingImage(geometry, inputSpec(8), format, 0, 'tiles');
    rejects(() => tiles.pushRows(new Uint8Array(8)), 'MESSAGE_UNEXPECTED');
  });

  it('maps working boxes to source pixels, clipped, for both fits', () => {
    const geometry = gridOf(2, 8, 0);
    const stretched = new WorkingImage(geometry, inputSpec(16), defaultPixelFormat(32, 64, 8), 0, 'rows');
    assert.deepEqual(stretched.sourceBox(-4, 4, 8, 20), { top: 0, left: 16, bottom: 16, right: 64 });
    const padded = new WorkingImage(
      geometry,
      inputSpec(16, { fit: 'pad' }),
      defaultPixelFormat(32, 64, 8),
      0,
      'rows',
    );
    // 64 columns fill 16, 32 rows become 8 between rows 4 and 12.
    assert.deepEqual(padded.sourceBox(0, 0, 8, 8), { top: 0, left: 0, bottom: 16, right: 32 });
    assert.deepEqual(padded.sourceBox(6, 2, 16, 4), { top: 8, left: 8, bottom: 32, right: 16 });
  });
});

function hash(geometry: Geometry, tile: TileIndex, seed: number): number {
  const { row, column } = tilePositionOf(geometry, tile);
  return Math.imul((row * 31 + column + 1) ^ seed, 0x9e3779b1) >>> 0;
}
