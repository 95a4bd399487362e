import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import sharp from 'sharp';
import { colourAt, colourScaleOf, colourStops } from '../../../../src/imaging/map/colour-scale.js';
import { INFERNO } from '../../../../src/imaging/map/inferno.js';
import { colourLayerPng, overlaySteps, rgbPng } from '../../../../src/imaging/map/overlay.js';
import { inTurns } from '../../../../src/util/turns.js';

const SHAPE = { rows: 12, columns: 10 };

/** A square of 6 x 6 with one robust z, the rest with another. */
function square(inside: number, outside: number): Float32Array {
  return Float32Array.from({ length: SHAPE.rows * SHAPE.columns }, (_, at) => {
    const [row, column] = [Math.floor(at / SHAPE.columns), at % SHAPE.columns];
    return row >= 3 && row < 9 && column >= 2 && column < 8 ? inside : outside;
  });
}

interface Drawn {
  readonly middle: number[];
  readonly edge: number[];
  readonly beside: number[];
}

async function overlay(map: Float32Array, grey: number, threshold: number): Promise<Drawn> {
  const pixels = new Uint8Array(map.length).fill(grey);
  const rgb = await inTurns(overlaySteps(pixels, map, SHAPE, colourScaleOf(threshold, map)));
  const { data, info } = await sharp(await rgbPng(rgb, SHAPE))
    .raw()
    .toBuffer({ resolveWithObject: true });
  assert.deepEqual([info.width, info.height, info.channels], [10, 12, 3]);
  const at = (row: number, column: number): number[] => [
    ...data.subarray(3 * (row * 10 + column), 3 * (row * 10 + column) + 3),
  ];
  return { middle: at(6, 5), edge: at(3, 4), beside: at(2, 4) };
}

const distance = (rgb: readonly number[], grey: number): number =>
  rgb.reduce((sum, value) => sum + Math.abs(value - grey), 0);

describe('the overlay', () => {
  it('is grey up to the threshold and where nothing was scored', async () => {
    for (const z of [-2, 0, 2.3, Number.NaN]) {
      const { middle, edge, beside } = await overlay(square(z, z), 90, 2.3);
      assert.deepEqual(
        [middle, edge, beside],
        [
          [90, 90, 90],
          [90, 90, 90],
          [90, 90, 90],
        ],
        `z ${z}`,
      );
    }
  });

  it('is clearly visible just above the threshold, with a line around the area above it', async () => {
    for (const grey of [20, 90, 160, 230]) {
      const { middle, edge, beside } = await overlay(square(2.31, 2.29), grey, 2.3);
      assert.ok(distance(middle, grey) > 40, `${middle} on ${grey}`);
      assert.ok(edge[2]! > edge[0]! + 80, `the line is cyan: ${edge}`);
      assert.deepEqual(beside, [grey, grey, grey]);
    }
  });

  it('draws the line also at the border of the scored area, but not along the border of the picture', async () => {
    const { edge } = await overlay(square(5, Number.NaN), 90, 2.3);
    assert.ok(edge[2]! > edge[0]! + 80);
    const { middle, beside } = await overlay(square(5, 5), 90, 2.3);
    assert.deepEqual(middle, beside);
  });

  it('never saturates: different values have different colours at any height', async () => {
    for (const high of [4, 30, 400]) {
      const map = square(high, 2.5);
      map[6 * 10 + 5] = high * 0.8;
      map[6 * 10 + 4] = high;
      const pixels = new Uint8Array(map.length).fill(90);
      const rgb = await inTurns(overlaySteps(pixels, map, SHAPE, colourScaleOf(2.3, map)));
      const at = (column: number): number[] => [...rgb.subarray(3 * (60 + column), 3 * (60 + column) + 3)];
      assert.ok(distance(at(4), 0) - distance(at(5), 0) > 20, `${at(4)} and ${at(5)} of ${high}`);
    }
  });

  it('keeps the anatomy: darker pixels of the image are darker under every colour', async () => {
    for (const z of [2.31, 3.5, 5.3]) {
      const [dark, light] = await Promise.all([60, 120].map((grey) => overlay(square(z, z), grey, 2.3)));
      assert.ok(distance(light!.middle, 0) - distance(dark!.middle, 0) > 60, `z ${z}`);
    }
  });

  it('equals the picture under the layer of colours', async () => {
    const map = square(4, 1);
    map[0] = Number.NaN;
    const scale = colourScaleOf(2.3, map);
    const pixels = Uint8Array.from(map, (_, at) => at * 2);
    const rgb = await inTurns(overlaySteps(pixels, map, SHAPE, scale));
    const layer = await colourLayerPng(map, SHAPE, scale);
    const { data } = await sharp(pixels, { raw: { width: 10, height: 12, channels: 1 } })
      .toColourspace('srgb')
      .composite([{ input: Buffer.from(layer) }])
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    data.forEach((value, at) => {
      assert.ok(Math.abs(value - rgb[at]!) <= 2, `${at}: ${value} ${rgb[at]}`);
    });
  });
});

describe('the colour scale', () => {
  it('begins at the threshold, is 3 long, and longer where the image exceeds it', () => {
    assert.deepEqual(colourScaleOf(1.8, Float32Array.of(0, 4, Number.NaN)), { from: 1.8, to: 4.8 });
    assert.deepEqual(colourScaleOf(1.8, Float32Array.of(0, 12)), { from: 1.8, to: 12 });
    assert.deepEqual(colourScaleOf(-1, Float32Array.of(Number.NaN)), { from: -1, to: 2 });
    assert.equal(colourScaleOf(1, Float32Array.of(Number.POSITIVE_INFINITY)).to, 4);
  });

  it('is nearly linear between its stops', () => {
    const stops = colourStops({ from: 2, to: 5 }, (z) => 1 / z);
    assert.deepEqual([stops[0]!.robustZ, stops.at(-1)!.robustZ], [2, 5]);
    assert.deepEqual([stops[0]!.pValue, stops.at(-1)!.pValue], [1 / 2, 1 / 5]);
    for (const [index, stop] of stops.slice(1).entries()) {
      const before = stops[index]!;
      const middle = colourAt(((stop.robustZ + before.robustZ) / 2 - 2) / 3);
      for (const channel of ['red', 'green', 'blue'] as const) {
        assert.ok(Math.abs(middle[channel] - (stop[channel] + before[channel]) / 2) < 14, channel);
      }
    }
  });

  it('increases in lightness, and has the colours of matplotlib', () => {
    assert.equal(INFERNO.length, 3 * 256);
    assert.deepEqual([...INFERNO.subarray(0, 3)], [0, 0, 4]);
    assert.deepEqual([...INFERNO.subarray(3 * 128, 3 * 129)], [188, 55, 84]);
    assert.deepEqual([...INFERNO.subarray(-3)], [252, 255, 164]);
    const luminance = (share: number): number => {
      const { red, green, blue } = colourAt(share);
      return 0.2126 * red ** 2.2 + 0.7152 * green ** 2.2 + 0.0722 * blue ** 2.2;
    };
    for (let step = 1; step <= 50; step += 1) assert.ok(luminance(step / 50) > luminance((step - 1) / 50));
  });
});
