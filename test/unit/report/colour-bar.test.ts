import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import sharp from 'sharp';
import { type BarStop, colourBar, shownShare } from '../../../src/report/colour-bar.js';

const STOPS: readonly BarStop[] = [
  { robustZ: 2, pValue: 0.05, red: 200, green: 0, blue: 0, opacity: 0.5 },
  { robustZ: 3, pValue: 0.01, red: 100, green: 100, blue: 0, opacity: 0.75 },
  { robustZ: 4, pValue: 0.002, red: 0, green: 200, blue: 0, opacity: 1 },
];

describe('the colour bar', () => {
  it('names its ends, and each labelled value with its share', () => {
    const svg = colourBar('key', STOPS);
    assert.match(svg, /aria-label="Colours from robust z 2\.0, the threshold, to 4\.0"/);
    for (const label of ['z 2.0', 'z 3.0', 'z 4.0', '5 %', '1 %', '0.2 %']) {
      assert.ok(svg.includes(`>${label}</text>`), label);
    }
  });

  it('has the colours of the map over a middle grey', async () => {
    const svg = colourBar('key', STOPS).replace('<svg ', '<svg xmlns="http://www.w3.org/2000/svg" ');
    const { data, info } = await sharp(Buffer.from(svg))
      .flatten({ background: '#ffffff' })
      .raw()
      .toBuffer({ resolveWithObject: true });
    const at = (x: number): number[] => {
      const start =
        (Math.round((24 * info.height) / 64) * info.width + Math.round((x * info.width) / 420)) * 3;
      return [...data.subarray(start, start + 3)];
    };
    for (const [x, expected] of [
      [15, [153, 53, 53]],
      [210, [101, 101, 27]],
      [404, [0, 200, 0]],
    ] as const) {
      for (const [channel, value] of at(x).entries()) {
        assert.ok(Math.abs(value - expected[channel]!) < 8, `${x}: ${at(x)}`);
      }
    }
  });

  it('shows shares with two digits at most, never as 0', () => {
    assert.deepEqual([0.05, 0.123, 1, 0.00042].map(shownShare), ['5 %', '12 %', '100 %', '0.042 %']);
  });
});
