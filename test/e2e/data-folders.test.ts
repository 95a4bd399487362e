import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { phantomPng, writeFiles } from '../support/images/image-folders.js';
import { runSalad } from '../support/programs/in-process-salad.js';

const SIZE = 128;
const root = mkdtempSync(join(tmpdir(), 'salad-data-'));
const models = join(root, 'models');
const PRESET = ['--preset', 'gabor', '--working-size', String(SIZE), '--no-align', '--json'];

/** The last line of `salad train --json`. */
interface TrainOutput {
  readonly images: { readonly fit: number };
  readonly hash: string;
  readonly warnings: readonly string[];
  readonly data: {
    readonly taken: readonly { readonly folder: string; readonly label: string; readonly images: number }[];
    readonly leftOut: readonly {
      readonly reason: string;
      readonly files: number;
      readonly first: readonly string[];
    }[];
  };
}

/** PNG files by name: `n<seed>` normal, `e<seed>` with an effusion. */
const pictures = new Map<string, Buffer>();

function folder(name: string, files: Readonly<Record<string, readonly string[]>>): Promise<string> {
  const contents = Object.entries(files).flatMap(([directory, names]) =>
    names.map((each) => [`${directory}/${each}.png`, pictures.get(each)!] as const),
  );
  return writeFiles(join(root, name), Object.fromEntries(contents));
}

const normals = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `n${from + index}`);
const effusions = (count: number): string[] => Array.from({ length: count }, (_, index) => `e${index}`);

const train = (data: string, name: string, ...more: string[]) =>
  runSalad('train', '--data', data, '--out', models, '--name', name, ...PRESET, ...more);

async function trained(data: string, name: string, ...more: string[]): Promise<TrainOutput> {
  const { code, stderr, lines } = await train(data, name, ...more);
  assert.equal(code, 0, stderr);
  return lines.at(-1) as unknown as TrainOutput;
}

describe('data folders of train, calibrate and evaluate', function () {
  this.timeout(60_000);
  let trainingFolder: string;

  before(async () => {
    for (let seed = 0; seed < 56; seed += 1) pictures.set(`n${seed}`, await phantomPng(3000 + seed, SIZE));
    for (let seed = 0; seed < 6; seed += 1)
      pictures.set(`e${seed}`, await phantomPng(3500 + seed, SIZE, 'effusion'));
    trainingFolder = await folder('known', { normal: normals(0, 24) });
    await trained(trainingFolder, 'known');
  });

  after(() => rmSync(root, { recursive: true }));

  it('are used class by class: train uses only normal images, evaluate all; both report what they used', async () => {
    const data = await folder('kaggle', {
      'train/NORMAL': normals(0, 20),
      'train/PNEUMONIA': effusions(6),
      'test/NORMAL': normals(30, 4),
      'test/PNEUMONIA': effusions(5),
      __MACOSX: normals(40, 1),
    });
    writeFileSync(join(data, 'train/NORMAL/scan.tif'), 'II*');
    const { code, stderr, lines } = await train(data, 'kaggle');
    assert.equal(code, 0, stderr);
    assert.match(stderr, /normal: 20 images of train\/NORMAL\//);
    assert.match(stderr, /left out: 6 files \(train\/PNEUMONIA\/\): abnormal/);
    assert.match(stderr, /left out: 1 file \(train\/NORMAL\/scan\.tif\): neither PNG nor JPEG/);
    const done = lines.at(-1) as unknown as TrainOutput;
    assert.equal(done.images.fit, 20);
    assert.deepEqual(done.data.taken, [{ folder: 'train/NORMAL', label: 'normal', images: 20 }]);
    assert.deepEqual(lines[0]?.['event'], 'data');
    const manifest = readFileSync(join(models, 'kaggle/1/manifest.json'), 'utf8');
    const { training } = JSON.parse(manifest) as {
      training: { sourceImages: string[]; pixelHashes: string[] };
    };
    assert.ok(training.sourceImages.every((id) => id.startsWith('train/NORMAL/')));
    assert.equal(training.pixelHashes.length, 20);

    const evaluated = await runSalad(
      'evaluate',
      '--model',
      join(models, 'known/1'),
      '--data',
      data,
      '--json',
    );
    assert.equal(evaluated.code, 0, evaluated.stderr);
    const { normal, classes } = evaluated.lines[0] as {
      normal: { count: number };
      classes: Record<string, { count: number }>;
    };
    assert.deepEqual(
      [normal.count, Object.keys(classes), classes['PNEUMONIA']?.count],
      [4, ['PNEUMONIA'], 5],
    );
  });

  it('are refused where they are ambiguous, before anything is written', async () => {
    const data = await folder('two-ways', { PNEUMONIA: effusions(5), COVID: normals(0, 20) });
    for (const [verb, ...more] of [
      ['train', '--out', join(root, 'none'), '--name', 'x'],
      ['calibrate', '--model', join(models, 'known/1'), '--out', join(root, 'none')],
      ['evaluate', '--model', join(models, 'known/1')],
    ] as const) {
      const { code, stderr, lines } = await runSalad(verb, '--data', data, '--json', ...more);
      assert.equal(code, 1, verb);
      assert.match(stderr, /COVID\/, PNEUMONIA\/ and none that is called normal/);
      assert.equal(lines[0]?.['reason'], 'TRAINING_DATA_INVALID');
    }
    assert.equal(existsSync(join(root, 'none')), false);
    assert.equal((await trained(data, 'named', '--normal', 'COVID/')).images.fit, 20);
  });

  it('are refused with unreadable files, which are all named', async () => {
    const data = await folder('corrupt', { normal: normals(0, 24) });
    const whole = pictures.get('n30')!;
    writeFileSync(join(data, 'normal/cut.png'), whole.subarray(0, whole.length - 200));
    writeFileSync(join(data, 'normal/not.jpg'), 'no picture');
    if (process.platform !== 'win32') execFileSync('mkfifo', [join(data, 'normal/pipe.png')]);
    for (const [verb, ...more] of [
      ['train', '--out', models, '--name', 'corrupt'],
      ['calibrate', '--model', join(models, 'known/1'), '--out', models],
      ['evaluate', '--model', join(models, 'known/1')],
    ] as const) {
      const { code, stderr, lines } = await runSalad(verb, '--data', data, '--json', ...more);
      assert.equal(code, 1, verb);
      assert.match(stderr, /2 files .*\n {2}normal\/cut\.png: .+\n {2}normal\/not\.jpg: /);
      assert.equal(lines.at(-1)?.['reason'], 'TRAINING_DATA_INVALID');
    }
  });

  it('are refused where the table of patients lacks an image', async () => {
    const data = await folder('patients', { normal: normals(0, 22) });
    const table = (of: (name: string) => string, count: number): void =>
      writeFileSync(
        join(data, 'patients.csv'),
        `file;patient\n${normals(0, count)
          .map((name, index) => `${of(name)};p${index >> 1}\n`)
          .join('')}`,
      );
    table((name) => `${name}.png`, 11);
    const half = await train(data, 'half');
    assert.equal(half.code, 1);
    assert.match(half.stderr, /patient of 11 of 22 images: normal\/n11\.png \(not in it\)/);
    table((name) => `NORMAL\\${name}.dcm`, 22);
    const matched = await train(data, 'patients');
    assert.equal(matched.code, 0, matched.stderr);
    assert.match(
      matched.stderr,
      /11 patients by .*patients\.csv \(images matched: 22 ignoring the extension\)/,
    );
    assert.match(readFileSync(join(models, 'patients/1/MODEL_CARD.md'), 'utf8'), /Folds by patient\./);
    await trained(data, 'no-patients', '--patients', 'none');
    assert.match(
      readFileSync(join(models, 'no-patients/1/MODEL_CARD.md'), 'utf8'),
      /Folds by image \(no table/,
    );
  });

  it('are refused for training with too few different images, unless forced', async () => {
    const few = await folder('few', { normal: normals(0, 19) });
    const refused = await train(few, 'few');
    assert.deepEqual([refused.code, refused.lines.at(-1)?.['reason']], [1, 'TRAINING_DATA_INVALID']);
    assert.match(refused.stderr, /19 different normal images are too few: at least 20/);
    const copies = join(root, 'copies');
    mkdirSync(copies);
    for (let copy = 0; copy < 20; copy += 1)
      copyFileSync(join(few, 'normal/n0.png'), join(copies, `${copy}.png`));
    assert.match((await train(copies, 'copies')).stderr, /1 different normal image is too few/);
    assert.match((await train(copies, 'copies', '--force')).stderr, /must hold 2 images and has 0/);
    const { code, stderr, lines } = await train(few, 'few', '--force', '--strata');
    assert.equal(code, 0, stderr);
    const { warnings } = lines.at(-1) as unknown as TrainOutput;
    assert.match(warnings.join(), /19 normal images, fewer than 100/);
    assert.match(stderr, /--strata does nothing: 95 calibration normals are needed, there are 19/);
    const card = readFileSync(join(models, 'few/1/MODEL_CARD.md'), 'utf8');
    assert.match(card, /^- Calibrated on 19 normal images, fewer than 100/m);
    assert.doesNotMatch(card, /every fifth/);
  });

  it('lead to each warning once', async () => {
    const { code, stdout, stderr } = await runSalad(
      ...[
        'train',
        '--data',
        trainingFolder,
        '--out',
        models,
        '--name',
        'once',
        ...PRESET.filter((word) => word !== '--json'),
      ],
    );
    assert.equal(code, 0, stderr);
    assert.equal(`${stdout}${stderr}`.split('calibrated on 24 normal images').length, 2);
  });

  it('are not trained on where the bundle exists', async () => {
    const manifest = join(models, 'known/1/manifest.json');
    const before = readFileSync(manifest);
    const again = await train(trainingFolder, 'known', '--seed', '9');
    assert.equal(again.code, 2);
    assert.match(again.stderr, /known.1 exists and is never overwritten: give --version 2 or another --out/);
    const parent = await runSalad(
      'train',
      '--data',
      trainingFolder,
      '--out',
      join(models, 'known'),
      ...PRESET,
    );
    assert.deepEqual([parent.code, readdirSync(join(models, 'known'))], [2, ['1']]);
    assert.deepEqual(readFileSync(manifest), before);
    const resumed = await train(trainingFolder, 'fresh', '--resume');
    assert.equal(resumed.code, 2);
    assert.match(resumed.stderr, /--resume: there is no checkpoint/);
    assert.equal(existsSync(join(models, 'fresh')), false);
  });

  describe('with training images among them', () => {
    let mixed: string;
    const withoutHashes = join(root, 'old/known/1');

    before(async () => {
      mixed = await folder('mixed', { normal: normals(10, 46), effusion: ['e0', 'e1', 'e2', 'n3'] });
      mkdirSync(withoutHashes, { recursive: true });
      for (const file of readdirSync(join(models, 'known/1'))) {
        copyFileSync(join(models, 'known/1', file), join(withoutHashes, file));
      }
      const manifest = JSON.parse(readFileSync(join(withoutHashes, 'manifest.json'), 'utf8')) as {
        training: Record<string, unknown>;
      };
      delete manifest.training['pixelHashes'];
      writeFileSync(join(withoutHashes, 'manifest.json'), JSON.stringify(manifest));
    });

    const TRAINING_IDS = [...normals(10, 14).map((name) => `normal/${name}.png`)].sort();

    for (const [how, model] of [
      ['pixelHashes', () => join(models, 'known/1')],
      ['memoryBank', () => withoutHashes],
    ] as const) {
      it(`are calibrated on without these images, recognised by ${how}`, async () => {
        const out = join(root, `calibrated-${how}`);
        const { code, stderr, lines } = await runSalad(
          ...['calibrate', '--model', model(), '--data', mixed, '--out', out, '--json'],
        );
        assert.equal(code, 0, stderr);
        const { images, trainingImages, warnings } = lines[0] as unknown as {
          images: number;
          trainingImages: { count: number; check: string; first: string[] };
          warnings: string[];
        };
        assert.deepEqual([images, trainingImages.count, trainingImages.check], [32, 14, how]);
        assert.deepEqual(trainingImages.first, TRAINING_IDS.slice(0, 10));
        assert.match(stderr, /left out: 14 images that the bundle was trained on \(normal\/n10\.png/);
        assert.match(warnings[0]!, /32 normal images, fewer than 100/);
        assert.match(stderr, /warning: calibrated on 32/);
        const again = await runSalad('evaluate', '--model', join(out, 'known/2'), '--data', mixed, '--json');
        // The images of the calibration are recognised as well.
        assert.equal(again.code, 1);
        assert.match(
          again.stderr,
          /no normal image could be scored: 4\d images are of the model's own training/,
        );
      });

      it(`are evaluated without these images, recognised by ${how}`, async () => {
        const { code, stderr, lines } = await runSalad(
          ...['evaluate', '--model', model(), '--data', mixed, '--json'],
        );
        assert.equal(code, 0, stderr);
        const { normal, classes, trainingImages, warnings } = lines[0] as unknown as {
          normal: { count: number };
          classes: { effusion: { count: number } };
          trainingImages: { count: number; check: string };
          warnings: string[];
        };
        assert.deepEqual([normal.count, classes.effusion.count], [32, 3]);
        assert.deepEqual(trainingImages, { ...trainingImages, count: 15, check: how });
        assert.match(warnings.join('\n'), /15 images the model was trained or calibrated on were left out/);
      });
    }

    it('are refused for calibration where there are no other images', async () => {
      const part = await folder('part', { normal: normals(0, 20) });
      for (const model of [join(models, 'known/1'), withoutHashes]) {
        const { code, stderr } = await runSalad(
          ...['calibrate', '--model', model, '--data', part, '--out', join(root, 'nothing'), '--json'],
        );
        assert.equal(code, 1);
        assert.match(stderr, /trained on these images/);
      }
      assert.equal(existsSync(join(root, 'nothing')), false);
    });
  });
});
