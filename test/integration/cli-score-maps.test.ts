/** `salad score --anomaly-map` and `--report`: what the pictures show, against what the port answers. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import {
  type AcquisitionAggregate,
  AnomalyMapFormat,
  SaladClient,
} from '../../clients/typescript/src/index.js';
import type { RunningServer } from '../../src/server/server.js';
import { createRandom } from '../../src/util/random.js';
import { runSalad } from '../support/programs/in-process-salad.js';
import { assertSelfContained, layersOf } from '../support/programs/report-page.js';
import { type ModelsFolder, smallModels, startSmall } from '../support/servers/small-server.js';

const [ROWS, COLUMNS] = [120, 300];
const RATE = 0.8;
const LEGEND_ROWS = 44;

interface Pixels {
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

async function pixelsOf(file: Buffer): Promise<Pixels> {
  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: info.channels };
}

describe('the pictures of salad score', function () {
  this.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), 'salad-score-maps-'));
  const at = (name: string) => join(folder, name);
  /** Noise that is brighter from left to right, from 40 to 200. */
  const random = createRandom(5);
  const image = Uint8Array.from({ length: ROWS * COLUMNS }, (_, index) =>
    Math.round(40 + (140 * (index % COLUMNS)) / COLUMNS + 20 * random()),
  );
  let models: ModelsFolder;
  let server: RunningServer;
  let aggregate: AcquisitionAggregate;
  let map: Float32Array;
  let html: string;

  before(async () => {
    models = await smallModels({ fit: 'pad', margin: 1 });
    server = await startSmall(models.path);
    const raw = { width: COLUMNS, height: ROWS, channels: 1 } as const;
    writeFileSync(at('image.png'), await sharp(image, { raw }).png().toBuffer());
    const client = new SaladClient(server.address);
    const options = { anomalyMap: AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32, maxFalsePositiveRate: RATE };
    aggregate = await client.scoreImage(
      { acquisitionId: 'map', model: { name: 'small' }, options },
      { encoded: readFileSync(at('image.png')) },
    );
    client.close();
    map = new Float32Array(Uint8Array.from(aggregate.anomalyMap!.data).buffer);
    const { code, stderr } = await runSalad(
      ...['score', at('image.png'), '--target', server.address, '--model', 'small'],
      ...['--max-false-positive-rate', String(RATE)],
      ...['--anomaly-map', at('map.png'), '--report', at('report.html')],
    );
    assert.equal(code, 0, stderr);
    html = readFileSync(at('report.html'), 'utf8');
  });
  after(async () => {
    await server.stop(0);
    await models.remove();
    rmSync(folder, { recursive: true });
  });

  const isColoured = ([red, green, blue]: readonly number[]): boolean => red !== green || green !== blue;

  it('have the rows and columns of the file, coloured above the threshold alone, the colour bar below', async () => {
    const { data, width, height, channels } = await pixelsOf(readFileSync(at('map.png')));
    assert.deepEqual([width, height, channels], [COLUMNS, ROWS + LEGEND_ROWS, 3]);
    const at3 = (row: number, column: number): number[] => {
      const start = 3 * (row * width + column);
      return [...data.subarray(start, start + 3)];
    };
    let coloured = 0;
    for (let row = 0; row < ROWS; row += 1) {
      for (let column = 0; column < COLUMNS; column += 1) {
        const z = map[row * COLUMNS + column]!;
        assert.equal(isColoured(at3(row, column)), z > aggregate.threshold, `(${row}, ${column}): z ${z}`);
        coloured += z > aggregate.threshold ? 1 : 0;
      }
    }
    assert.ok(coloured > 500 && coloured < 0.9 * ROWS * COLUMNS, `${coloured} pixels`);
    // The legend: from the first colour of the scale to the last, over a middle grey.
    const { scale } = aggregate.anomalyMap!;
    for (const [stop, column] of [
      [scale[0]!, 10],
      [scale.at(-1)!, COLUMNS - 11],
    ] as const) {
      const over = (value: number): number => 106 + stop.opacity * (value - 106);
      const wanted = [stop.red, stop.green, stop.blue].map(over);
      for (const [channel, value] of at3(ROWS + 7, column).entries()) {
        assert.ok(Math.abs(value - wanted[channel]!) <= 3, `${at3(ROWS + 7, column)} ${wanted}`);
      }
    }
  });

  it('show dark and bright, left and right as in the file where nothing is coloured', async () => {
    const { data, width } = await pixelsOf(readFileSync(at('map.png')));
    const pairs: { own: number; shown: number }[] = [];
    for (let index = 0; index < ROWS * COLUMNS; index += 1) {
      if (map[index]! > aggregate.threshold) continue;
      const position = 3 * (Math.floor(index / COLUMNS) * width + (index % COLUMNS));
      pairs.push({ own: image[index]!, shown: data[position]! });
    }
    // The grey levels are stretched linearly between the 0.5th and the 99.5th percentile.
    const inside = pairs.filter(({ own }) => own > 60 && own < 180);
    const slope = (a: number, b: number): number => {
      const mean = (own: number): number => {
        const of = inside.filter((pair) => pair.own === own).map(({ shown }) => shown);
        return of.reduce((sum, value) => sum + value, 0) / of.length;
      };
      return (mean(b) - mean(a)) / (b - a);
    };
    assert.ok(Math.abs(slope(70, 110) - slope(110, 170)) < 0.05);
    assert.ok(slope(70, 170) > 1.4);
  });

  it('are in the report as layers of the same size, with outlines in pixels of the file', async () => {
    assertSelfContained(html);
    assert.match(html, new RegExp(`viewBox="0 0 ${COLUMNS} ${ROWS}"`));
    const { grey, colours } = layersOf(html, 'image-1');
    const [under, over] = [await pixelsOf(grey), await pixelsOf(colours)];
    assert.deepEqual([under.width, under.height], [COLUMNS, ROWS]);
    assert.deepEqual([over.width, over.height, over.channels], [COLUMNS, ROWS, 4]);
    for (const [index, z] of map.entries()) {
      assert.equal(over.data[4 * index + 3]! > 0, z > aggregate.threshold, `${index}: z ${z}`);
    }
    const points = (corners: readonly { readonly x: number; readonly y: number }[]): string =>
      corners.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ');
    assert.ok(html.includes(`class="outline top" points="${points(aggregate.topPatches[0]!.corners)}"`));
    assert.ok(html.includes(`class="outline area" points="${points(aggregate.anomalyMap!.countingArea)}"`));
  });

  it('contain their scale, their threshold, and the origin of the figures', () => {
    const { model, threshold, anomalyMap } = aggregate;
    const [first, last] = [anomalyMap!.scale[0]!, anomalyMap!.scale.at(-1)!];
    for (const text of [
      model!.bundleSha256,
      'small@1',
      `Colours from robust z ${first.robustZ.toFixed(1)}, the threshold, to ${last.robustZ.toFixed(1)}`,
      `threshold ${threshold.toFixed(3)}, which at most 80 % of normal images exceed`,
      `${COLUMNS} × ${ROWS}`,
      'How to read the pictures',
    ]) {
      assert.ok(html.includes(text), text);
    }
    assert.match(html, /<dd>\d{4}-\d\d-\d\dT[\d:.]+Z by salad-serve \d+\.\d+\.\d+<\/dd>/);
  });
});
