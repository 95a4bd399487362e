import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { colourScaleOf, colourStops } from '../../../src/imaging/colour-scale.js';
import { drawText, textWidth } from '../../../src/imaging/glyphs.js';
import { legendBelow } from '../../../src/imaging/legend.js';

const STOPS = colourStops(colourScaleOf(1.8, new Float32Array()), (z) => 0.05 / z);

function drawn(text: string): string[] {
  const lines = Array.from({ length: 7 }, () => new Array<string>(textWidth(text)).fill(' '));
  drawText(text, 0, 0, (x, y) => {
    lines[y]![x] = '#';
  });
  return lines.map((line) => line.join(''));
}

describe('the legend of an anomaly map', () => {
  it('does not change the picture, which is in the upper left corner', () => {
    for (const columns of [100, 256, 512]) {
      const picture = Uint8Array.from({ length: 5 * columns * 3 }, (_, index) => index % 251);
      const { rgb, shape } = legendBelow(picture, { rows: 5, columns }, STOPS);
      assert.deepEqual(shape, { rows: 49, columns: Math.max(256, columns) });
      assert.equal(rgb.length, 3 * shape.rows * shape.columns);
      for (let row = 0; row < 5; row += 1) {
        assert.deepEqual(
          rgb.subarray(3 * row * shape.columns, 3 * (row * shape.columns + columns)),
          picture.subarray(3 * row * columns, 3 * (row + 1) * columns),
        );
      }
    }
  });

  it('writes robust z and the share of four values, and what is counted, each once, inside the picture', () => {
    const { rgb, shape } = legendBelow(new Uint8Array(3 * 256), { rows: 1, columns: 256 }, STOPS);
    const rows = Array.from({ length: shape.rows }, (_, row) =>
      Array.from({ length: 256 }, (_, x) => (rgb[3 * (row * shape.columns + x)] === 225 ? '#' : ' ')).join(
        '',
      ),
    );
    const placesOf = (label: string) => {
      const glyphs = drawn(label);
      const tops = Array.from({ length: shape.rows - 6 }, (_, top) => top);
      return tops.flatMap((top) =>
        Array.from({ length: 256 }, (_, x) => x).filter((x) =>
          glyphs.every((line, row) => rows[top + row]!.slice(x, x + line.length) === line),
        ),
      );
    };
    const shares = [2.8, 1.8, 1.3, 1].map((share) => `${share}%`);
    const texts = ['z 1.8', 'z 2.8', 'z 3.8', 'z 4.8', ...shares, '% of normal patches that reach z'];
    for (const text of texts) assert.equal(placesOf(text).length, 1, text);
    assert.equal(placesOf('p 2.8%').length, 0);
  });

  it('has different glyphs for all characters, and none for others', () => {
    const all = [...'0123456789.-%acefhlmnoprstz '].map((character) => drawn(character).join('\n'));
    assert.equal(new Set(all).size, all.length);
    assert.throws(() => drawn('x'), RangeError);
  });
});
