import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { auroc } from '../../src/training/evaluate/metrics.js';
import { phantomPng, png, writeFiles } from '../support/images/image-folders.js';
import { runSalad } from '../support/programs/in-process-salad.js';
import { assertSelfContained } from '../support/programs/report-page.js';

const SIZE = 128;
const root = mkdtempSync(join(tmpdir(), 'salad-protocol-'));
const data = join(root, 'set/test');
const model = join(root, 'models/small/1');

interface Figures {
  readonly auroc: number;
  readonly aurocCi95: readonly [number, number];
  readonly localAuroc: number;
  readonly floors: Readonly<Record<string, number>>;
  readonly localisation?: Readonly<Record<string, number>>;
}
interface Result extends Figures {
  readonly normal: { readonly count: number };
  readonly classes: Readonly<Record<string, Figures & { readonly count: number }>>;
  readonly all: Figures & { readonly count: number };
  readonly warnings: readonly string[];
  readonly half: string;
}

async function evaluate(...more: string[]): Promise<Result> {
  const { code, stderr, lines } = await runSalad(
    ...['evaluate', '--model', model, '--data', data, '--json', ...more],
  );
  assert.equal(code, 0, stderr);
  return lines[0] as unknown as Result;
}

const HEADER = 'file,label,patient,imageScore,pValue,decision,top,left,bottom,right';

describe('salad evaluate', function () {
  this.timeout(60_000);
  const scores = join(root, 'new/scores.csv');
  let result: Result;
  let rows: Record<string, string>[];

  before(async () => {
    const files = async (folder: string, from: number, count: number, lesion: 'none' | 'effusion') =>
      Object.fromEntries(
        await Promise.all(
          Array.from({ length: count }, async (_, index) => [
            `${folder}/${from + index}.png`,
            await phantomPng(from + index, SIZE, lesion),
          ]),
        ),
      ) as Record<string, Buffer>;
    await writeFiles(join(root, 'normals'), await files('normal', 6000, 30, 'none'));
    await writeFiles(data, {
      ...(await files('normal', 6100, 12, 'none')),
      ...(await files('effusion', 6200, 8, 'effusion')),
      ...(await files('other, "odd"', 6300, 4, 'effusion')),
    });
    const lines = [
      'path\tx\ty\tw\th',
      'test/effusion/6200.png\t0\t0\t128\t128',
      'test/effusion/6201.png\t0\t0\t1\t1',
    ];
    writeFileSync(join(root, 'set/boxes.tsv'), `${lines.join('\n')}\n`);
    const trained = await runSalad(
      ...['train', '--data', join(root, 'normals'), '--out', join(root, 'models'), '--name', 'small'],
      ...['--working-size', String(SIZE), '--no-align', '--json'],
    );
    assert.equal(trained.code, 0, trained.stderr);
    result = await evaluate('--scores', scores);
    const [header, ...rowLines] = readFileSync(scores, 'utf8').trimEnd().split('\n');
    assert.equal(header, HEADER);
    rows = rowLines.map((line) => {
      const cells = [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].map(([, cell]) =>
        (cell ?? '').replace(/^"|"$/g, '').replaceAll('""', '"'),
      );
      return Object.fromEntries(HEADER.split(',').map((name, index) => [name, cells[index] ?? '']));
    });
  });

  after(() => rmSync(root, { recursive: true }));

  it('writes one line per image, from which its figures can be computed', () => {
    assert.equal(rows.length, 24);
    const of = (label: RegExp) =>
      rows.filter((row) => label.test(row['label']!)).map((row) => Number(row['imageScore']));
    assert.equal(auroc(of(/^normal$/), of(/^effusion$/)), result.classes['effusion']!.auroc);
    assert.equal(auroc(of(/^normal$/), of(/^(?!normal)/)), result.all.auroc);
    assert.equal(result.all.count, 12);
    const odd = rows.find((row) => row['file'] === 'other, "odd"/6300.png');
    assert.deepEqual([odd?.['label'], odd?.['patient']], ['other, "odd"', 'image:other, "odd"/6300.png']);
    for (const row of rows) {
      const box = ['top', 'left', 'bottom', 'right'].map((side) => Number(row[side]));
      const [top, left, bottom, right] = box as [number, number, number, number];
      assert.ok(
        top >= 0 && top < bottom && bottom <= SIZE && left >= 0 && left < right && right <= SIZE,
        `${box}`,
      );
      assert.ok(Number(row['pValue']) > 0 && Number(row['pValue']) <= 1);
    }
  });

  it('reports the one-number baselines, the local part of the score and the place of the top patch', () => {
    assert.deepEqual(Object.keys(result.floors), ['meanGrey', 'blurWhole', 'blurCentre', 'fileSize']);
    assert.deepEqual(result.all.floors, result.floors);
    assert.equal(result.localAuroc, result.all.localAuroc);
    assert.ok(result.localAuroc > 0.5);
    // One box is the whole image, of which the region around the top patch is a half; the other is a corner outside.
    const { pointingByChance, ...shares } = result.localisation!;
    assert.deepEqual(shares, {
      ...{ boxImages: 2, pointing: 0.5, pointingByFixedPlace: 0 },
      ...{ touch: 0.5, iou10: 0.5, iou25: 0.5 },
    });
    assert.ok(Math.abs(pointingByChance! - (1 + 1 / SIZE ** 2) / 2) < 1e-9);
    assert.deepEqual(result.classes['effusion']!.localisation, result.localisation);
    assert.equal(result.classes['other, "odd"']!.localisation, undefined);
  });

  it('warns of small classes and of a small calibration set', () => {
    assert.match(
      result.warnings.join('\n'),
      /class effusion: 8 images of 8 patients, too few for reliable figures/,
    );
    assert.match(result.warnings.join('\n'), /the model: calibrated on 30 normal images, fewer than 100/);
    const [low, high] = result.classes['effusion']!.aurocCi95;
    assert.ok(low < 0.99 && high <= 1 && low < high);
  });

  it('splits the set by patient, and logs every use of the report half', async () => {
    const log = join(root, 'set/test.openings.jsonl');
    const [choose, report] = [await evaluate('--half', 'choose'), await evaluate('--half', 'report')];
    assert.deepEqual([choose.half, report.half, result.half], ['choose', 'report', 'all']);
    assert.equal(choose.normal.count + report.normal.count, 12);
    assert.ok(choose.normal.count > 0 && choose.all.count + report.all.count === 12);
    const openings = () =>
      readFileSync(log, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as { half: string; model: string; images: number; time: string });
    const [first, ...none] = openings();
    assert.deepEqual([first?.half, first?.model, none.length], ['report', 'small@1', 0]);
    assert.ok(Math.abs(Date.parse(first!.time) - Date.now()) < 60_000);
    // An evaluation of the whole set uses the report half as well.
    await evaluate();
    assert.deepEqual(
      openings().map(({ half }) => half),
      ['report', 'all'],
    );
    await evaluate('--half', 'report', '--half-log', join(root, 'mine.jsonl'));
    assert.equal(openings().length, 2);
    assert.ok(existsSync(join(root, 'mine.jsonl')));
  });

  it('checks its output files before the work, and never overwrites an image', async () => {
    const refuse = async (pattern: RegExp, ...more: string[]) => {
      const { code, stderr } = await runSalad('evaluate', '--model', model, '--data', data, ...more);
      assert.equal(code, 2, stderr);
      assert.match(stderr, pattern);
    };
    await refuse(/--scores .*cannot be written/, '--scores', join(data, 'normal/6100.png/s.csv'));
    await refuse(/--report .*cannot be written/, '--report', root);
    await refuse(/is also the file of --scores/, '--report', join(root, 'x'), '--scores', join(root, 'x'));
    const image = join(data, 'normal/6100.png');
    const before = readFileSync(image);
    await refuse(/--scores .*holds something else than CSV/, '--scores', image);
    await refuse(/is an image of the data/, '--half', 'report', '--half-log', image);
    assert.deepEqual(readFileSync(image), before);
    await refuse(
      /cannot be written to .*--half-log/,
      '--half',
      'report',
      '--half-log',
      join(root, 'none/log'),
    );
  });

  it('names a lesion mask that is unreadable or has another size than its image', async () => {
    for (const [content, pattern] of [
      ['no picture', /the mask .*masks.effusion.6201\.png cannot be read: .*neither PNG nor JPEG/],
      [await png(1), /the mask .*6201\.png has 8 x 8 pixels, its image 128 x 128/],
    ] as const) {
      await writeFiles(data, { 'masks/effusion/6201.png': content });
      const { code, stderr } = await runSalad('evaluate', '--model', model, '--data', data, '--json');
      assert.equal(code, 1);
      assert.match(stderr, pattern);
    }
    rmSync(join(data, 'masks'), { recursive: true });
  });

  describe('--report', () => {
    const file = join(root, 'report.html');
    let html: string;
    before(async () => {
      await evaluate('--report', file, '--top', '6');
      html = readFileSync(file, 'utf8');
    });

    it('shows warnings, all classes together, boxes, and the origin of the figures', () => {
      const manifest = readFileSync(join(model, 'manifest.json'));
      for (const part of [
        /<h2>Warnings<\/h2><ul>/,
        /all abnormal/,
        /Radiologists’ boxes/,
        /<dd>[^<]*small@1/,
        /by salad-serve \d+\.\d+\.\d+/,
        new RegExp(`<dd>${createHash('sha256').update(manifest).digest('hex')}</dd>`),
      ]) {
        assert.match(html, part);
      }
      assertSelfContained(html);
    });

    it('marks the thresholds of the model on curves and histograms', () => {
      assert.ok((html.match(/<circle /g)?.length ?? 0) >= 2);
      assert.match(html, />image score \(dashed: thresholds\)<\/text>/);
      assert.match(html, />5 %<\/text>/);
    });

    it('lists every image, and those with maps as hits, misses and false alarms, two each at most', () => {
      const table = html.slice(
        html.indexOf('<h2>All images</h2>'),
        html.indexOf('<h2>Images with maps</h2>'),
      );
      assert.equal(table.match(/<tr>/g)?.length, 1 + rows.length);
      const byScore = [...rows].sort((a, b) => Number(b['imageScore']) - Number(a['imageScore']));
      const of = (isNormal: boolean, decision: string) =>
        byScore.filter((row) => (row['label'] === 'normal') === isNormal && row['decision'] === decision);
      const wanted = [
        of(false, 'anomalous').slice(0, 2),
        of(false, 'normal').reverse().slice(0, 2),
        of(true, 'anomalous').slice(0, 2),
      ];
      const sheets = html
        .slice(0, html.indexOf('<h2>All images</h2>'))
        .split(/<h2>(?:Abn|N)ormal images that/);
      assert.equal(sheets.length, 4);
      for (const [index, sheet] of sheets.slice(1).entries()) {
        const names = [...sheet.matchAll(/<br><bdi>([^<]*)<\/bdi><\/figcaption>/g)].map(([, name]) => name);
        const files = wanted[index]!.map((row) => row['file']!.replaceAll('"', '&#34;'));
        assert.deepEqual(names, files);
        if (files.length === 0) assert.match(sheet, /<p>No /);
      }
      assert.ok(wanted[0]!.length === 2, 'some are flagged');
    });

    it('draws the boxes of the data set and the top patch in pixels of the source', async () => {
      await evaluate('--report', file, '--top', '36');
      const all = readFileSync(file, 'utf8');
      const points = {
        6200: '0.0,0.0 128.0,0.0 128.0,128.0 0.0,128.0',
        6201: '0.0,0.0 1.0,0.0 1.0,1.0 0.0,1.0',
      };
      for (const [name, box] of Object.entries(points)) {
        const start = all.indexOf(`<h3><bdi>effusion/${name}.png`);
        assert.ok(start > 0, name);
        const section = all.slice(start, all.indexOf('</section>', start));
        assert.match(section, new RegExp(`class="outline truth" points="${box}"`));
        const row = rows.find((each) => each['file'] === `effusion/${name}.png`)!;
        const [, corners = ''] = /class="outline top" points="([^"]*)"/.exec(section) ?? [];
        const [x = Number.NaN, y = Number.NaN] = corners.split(/[ ,]/).map(Number);
        assert.ok(Math.abs(Math.max(0, x) - Number(row['left'])) < 0.06, corners);
        assert.ok(Math.abs(Math.max(0, y) - Number(row['top'])) < 0.06, corners);
      }
    });
  });
});
