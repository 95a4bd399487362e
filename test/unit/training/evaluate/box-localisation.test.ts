import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'mocha';
import { SaladError } from '../../../../src/errors/index.js';
import type { Dataset, DatasetImage } from '../../../../src/training/data/dataset.js';
import { boxFigures, boxHit, ImageBoxes } from '../../../../src/training/evaluate/box-localisation.js';

const root = mkdtempSync(join(tmpdir(), 'salad-boxes-'));
const SIZE = { rows: 100, columns: 100 };
const box = (left: number, top: number, right: number, bottom: number) => ({ left, top, right, bottom });

function boxesOf(name: string, content: string, labels: readonly string[] = ['normal', 'mass']): ImageBoxes {
  const folder = join(root, name);
  mkdirSync(join(folder, 'test'), { recursive: true });
  writeFileSync(join(folder, 'boxes.tsv'), content);
  const directory = join(folder, 'test');
  const images = ['mass/a.png', 'mass/b.png'].map(
    (id) => ({ id, path: join(directory, id), ...SIZE }) as DatasetImage,
  );
  return ImageBoxes.read({ directory, images, labels } as unknown as Dataset);
}

const find = (boxes: ImageBoxes, name: string, id: string) =>
  boxes.find({ path: join(root, name, 'test', id) });

describe('boxes drawn by radiologists', () => {
  after(() => rmSync(root, { recursive: true }));

  it('are read from the folder above the data, by image, in pixels', () => {
    const boxes = boxesOf(
      'plain',
      'path\tx\ty\tw\th\ntest/mass/a.png\t10\t20\t30\t40\ntest/mass/a.png\t0\t0\t5\t5\n',
    );
    assert.deepEqual(find(boxes, 'plain', 'mass/a.png'), [box(10, 20, 40, 60), box(0, 0, 5, 5)]);
    assert.equal(find(boxes, 'plain', 'mass/b.png'), undefined);
    assert.equal(boxes.size, 1);
  });

  it('are used only with the label of a class, if any label is one', () => {
    const rows = 'test/mass/a.png\tMass\t1\t1\t2\t2\ntest/mass/a.png\tLung Opacity\t5\t5\t2\t2\n';
    const boxes = boxesOf('label', `path\tlabel\tx\ty\tw\th\n${rows}`);
    assert.deepEqual(find(boxes, 'label', 'mass/a.png'), [box(1, 1, 3, 3)]);
    const others = boxesOf('others', `path\tlabel\tx\ty\tw\th\n${rows}`, ['normal', 'abnormal']);
    assert.equal(find(others, 'others', 'mass/a.png')?.length, 2);
  });

  it('are refused outside their image, without size, or without the columns', () => {
    for (const [name, content, pattern] of [
      [
        'large',
        'path\tx\ty\tw\th\ntest/mass/a.png\t400\t20\t30\t40\n',
        /extends to \(430, 60\), its image has 100 x 100/,
      ],
      ['empty', 'path\tx\ty\tw\th\ntest/mass/a.png\t1\t2\t0\t4\n', /is invalid/],
      ['text', 'path\tx\ty\tw\th\ntest/mass/a.png\t1\t\t3\t4\n', /is invalid/],
      ['columns', 'path\tleft\ttop\n', /columns path, x, y, w and h/],
    ] as const) {
      assert.throws(
        () => boxesOf(name, content),
        (error) => error instanceof SaladError && pattern.test(error.message),
        name,
      );
    }
  });

  it('are compared with a patch by its centre, by contact and by intersection over union', () => {
    const boxes = [box(10, 10, 30, 30), box(60, 60, 80, 80)];
    // Shifted by half a side: the intersection is 10 x 20, the union 20 x 30 pixels.
    const { places, ...hit } = boxHit(box(20, 10, 40, 30), box(20, 10, 40, 30), boxes, SIZE);
    // Places lie 100 / 32 pixels from each other: 7 x 7 are in each box.
    assert.equal(places.filter(Boolean).length, 98);
    assert.ok(places[32 * 3 + 3] && !places[0]);
    assert.deepEqual(hit, {
      pointing: false,
      touch: true,
      iou: 1 / 3,
      covered: 0.08,
    });
    assert.equal(boxHit(box(19, 10, 39, 30), box(19, 10, 39, 30), boxes, SIZE).pointing, true);
    const beside = boxHit(box(30, 10, 50, 30), box(30, 10, 50, 30), boxes, SIZE);
    assert.deepEqual([beside.touch, beside.iou], [false, 0]);
    assert.equal(boxHit(box(0, 0, 1, 1), box(60, 60, 80, 80), boxes, SIZE).iou, 1);
  });

  it('give shares over the images with a box', () => {
    const hit = (iou: number, pointing: boolean) => ({
      ...{ iou, pointing, touch: iou > 0, covered: 0.1 },
      places: [false],
    });
    const figures = boxFigures([hit(0, false), hit(0.1, true), hit(0.25, true), hit(0.05, false)]);
    assert.deepEqual(
      { ...figures, pointingByChance: undefined },
      {
        ...{ boxImages: 4, pointing: 0.5, pointingByChance: undefined, pointingByFixedPlace: 0 },
        ...{ touch: 0.75, iou10: 0.5, iou25: 0.25 },
      },
    );
    assert.ok(Math.abs(figures!.pointingByChance - 0.1) < 1e-12);
    assert.equal(boxFigures([]), undefined);
  });

  it('are compared with a place that is the same in all images and chosen on the others', () => {
    const hit = (...places: boolean[]) => ({
      ...{ iou: 0, pointing: false, touch: false, covered: 0.1 },
      places,
    });
    const [first, second, both] = [hit(true, false), hit(false, true), hit(true, true)];
    const share = (hits: readonly (typeof first)[]) => boxFigures(hits)!.pointingByFixedPlace;
    assert.equal(share([first, first, first, second]), 0.75);
    // Without itself, each has only the place of the other.
    assert.equal(share([first, second]), 0);
    assert.equal(share([first, both]), 1);
    assert.equal(share([first]), 0);
  });
});
