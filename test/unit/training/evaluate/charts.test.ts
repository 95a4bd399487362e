import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import sharp from 'sharp';
import { labelBox, placeLabels } from '../../../../src/training/evaluate/chart-labels.js';
import { histogramChart, rocChart } from '../../../../src/training/evaluate/charts.js';
import { rocPoints } from '../../../../src/training/evaluate/metrics.js';

describe('labels of points in a chart', () => {
  const area = { left: 44, right: 280, top: 68, bottom: 304 };
  const areApart = (a: typeof area, b: typeof area): boolean =>
    a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;

  it('cover neither a point nor each other, and stay in the area to the right and below', () => {
    const within = (low: number, high: number) => fc.double({ min: low, max: high, noNaN: true });
    const point = fc.record({
      x: within(area.left, area.right),
      y: within(area.top, area.bottom),
      label: fc.constantFrom('5 %', '10 %'),
    });
    fc.assert(
      fc.property(fc.array(point, { minLength: 1, maxLength: 3 }), (points) => {
        const placed = placeLabels(points, area);
        assert.deepEqual(
          placed.map(({ x, y, label }) => [x, y, label]),
          points.map(({ x, y, label }) => [x, y, label]),
        );
        const boxes = placed.map(labelBox);
        const circles = points.map(({ x, y }) => ({ left: x - 4, right: x + 4, top: y - 4, bottom: y + 4 }));
        for (const [index, box] of boxes.entries()) {
          assert.ok(box.right <= area.right + 1e-9 && box.bottom <= area.bottom + 3);
          for (const other of [...circles, ...boxes.slice(index + 1)]) assert.ok(areApart(box, other));
        }
      }),
      { seed: 7 },
    );
  });
});

describe('charts', () => {
  it('include a ROC curve that an SVG renderer accepts, in the given colour', async () => {
    const svg = rocChart('a < b & c', rocPoints([1, 2, 3], [2, 4]), '#ff0000');
    const { data, info } = await sharp(Buffer.from(svg))
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    let red = 0;
    for (let i = 0; i < data.length; i += info.channels) {
      if (data[i]! > 200 && data[i + 1]! < 80 && data[i + 2]! < 80) red += 1;
    }
    assert.equal(info.width, 300);
    assert.ok(red > 200, `${red} red pixels`);
  });

  it('include histograms as fractions of each class, with marks only inside the range', () => {
    const svg = histogramChart(
      'scores',
      [{ label: 'normal', scores: [0, 0, 1, 2], colour: '#888888' }],
      [
        { at: 1, label: 'inside' },
        { at: 9, label: 'outside' },
      ],
      2,
    );
    assert.ok(svg.includes('inside') && !svg.includes('outside'));
    // Both bins hold half of the class, so both reach the top of the plot.
    const tops = [...svg.matchAll(/L[\d.]+ ([\d.]+)L[\d.]+ \1/g)].map((match) => match[1]);
    assert.equal(tops.length, 2);
    assert.equal(new Set(tops).size, 1);
  });
});
