import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import sharp from 'sharp';
import { histogramChart, rocChart } from '../../../../src/training/evaluate/charts.js';
import { rocPoints } from '../../../../src/training/evaluate/metrics.js';

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
