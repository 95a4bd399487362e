import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import sharp from 'sharp';
import type { Bundle } from '../../src/bundle/bundle.js';
import { allocatePatchBatch } from '../../src/engines/batch.js';
import type { Engine } from '../../src/engines/engine.js';
import { runGoldenCheck } from '../../src/engines/selection/golden-check.js';
import { createEngine } from '../../src/engines/selection/select.js';
import { SaladError } from '../../src/errors/index.js';
import { type TileIndex, tilePositionOf } from '../../src/geometry/tile-index.js';
import { decodeImage } from '../../src/imaging/decode/decode.js';
import { createDisplayTransform, defaultPixelFormat } from '../../src/imaging/pixel-format/pixel-format.js';
import { WorkingImage } from '../../src/imaging/working-image/working-image.js';
import { type LesionKind, makePhantom } from '../../src/phantom/phantom.js';
import { aggregateImage } from '../../src/scoring/calibration.js';
import { loadDataset } from '../../src/training/data/dataset.js';
import type { TrainingPlan, TrainingProgress } from '../../src/training/encoders/preset.js';
import { saladPreset } from '../../src/training/encoders/salad/named-configurations.js';
import { learnedPlan } from '../../src/training/encoders/salad/salad-presets.js';
import { type EvaluationDetail, evaluateBundle } from '../../src/training/evaluate/evaluate.js';
import { evaluationReport } from '../../src/training/evaluate/report.js';
import { findPreset } from '../../src/training/fit/preset-registry.js';
import { DEFAULT_THRESHOLDS } from '../../src/training/fit/strata.js';
import { type TrainResult, trainBundle } from '../../src/training/fit/train.js';
import { imageScoreErrorMax } from '../support/engines/rounding.js';
import { assertSelfContained } from '../support/programs/report-page.js';

const SIZE = 160;
const root = mkdtempSync(join(tmpdir(), 'salad-train-'));

/** Writes a phantom as a windowed 8-bit PNG, in the folders of `salad phantom`. */
async function writePhantom(folder: string, seed: number, lesion: LesionKind | 'none'): Promise<void> {
  const phantom = makePhantom({ seed, lesion, size: SIZE });
  const label = lesion === 'none' ? 'normal' : lesion;
  const display = new Float32Array(SIZE * SIZE);
  createDisplayTransform({
    ...defaultPixelFormat(SIZE, SIZE, 16, 12),
    voi: { kind: 'window', ...phantom.window, function: 'linear' },
  })(new Uint8Array(phantom.samples.buffer), display);
  const raw = { width: SIZE, height: SIZE, channels: 1 } as const;
  const save = async (directory: string, pixels: Uint8Array): Promise<void> => {
    mkdirSync(directory, { recursive: true });
    await sharp(pixels, { raw })
      .toColourspace('b-w')
      .png()
      .toFile(join(directory, `${seed}.png`));
  };
  await save(join(folder, label), Uint8Array.from(display, Math.round));
  if (phantom.lesion) await save(join(folder, 'masks', label), phantom.lesion.mask);
}

describe('train and evaluate', function () {
  this.timeout(60_000);
  const trainFolder = join(root, 'train');
  const testFolder = join(root, 'test');
  let engine: Engine;
  let bundle: Bundle;
  let split: TrainResult['split'];
  let detail: EvaluationDetail;

  /** Differences from the default training of this test. */
  interface Variation {
    readonly signal?: AbortSignal;
    readonly presetName?: string;
    /** Replaces the plan of the preset. */
    readonly plan?: TrainingPlan;
    readonly workingSize?: number;
    readonly validation?: number | null;
    readonly onProgress?: (progress: TrainingProgress) => void;
  }

  const train = async (directory: string, variation: Variation = {}): Promise<TrainResult> => {
    const { presetName = 'gabor-stream', workingSize = 128 } = variation;
    const preset = findPreset(presetName);
    const plan = variation.plan ?? preset.plan({ workingSize });
    return trainBundle({
      dataset: await loadDataset(trainFolder, { purpose: 'train' }),
      bundleDirectory: directory,
      name: 'tiny',
      version: 1,
      description: 'for this test',
      notes: ['a note'],
      preset,
      plan,
      seed: 4,
      engine,
      bankRows: 2048,
      coreset: 'random',
      outlierFraction: 0.005,
      thresholds: DEFAULT_THRESHOLDS,
      validation: variation.validation === undefined ? 0.5 : variation.validation,
      resume: false,
      force: false,
      onWarning: () => undefined,
      command: 'salad train',
      saladServe: '0.0.0',
      signal: variation.signal ?? new AbortController().signal,
      onProgress: variation.onProgress ?? (() => undefined),
    });
  };

  before(async () => {
    for (let seed = 1; seed <= 44; seed += 1) await writePhantom(trainFolder, seed, 'none');
    for (let seed = 101; seed <= 110; seed += 1) await writePhantom(testFolder, seed, 'none');
    for (let seed = 201; seed <= 208; seed += 1) await writePhantom(testFolder, seed, 'effusion');
    engine = await createEngine('onnx');
    ({ bundle, split } = await train(join(root, 'a', '1')));
    detail = await evaluateBundle({
      bundle,
      engine,
      dataset: await loadDataset(testFolder),
      pictureCount: 6,
    });
  });

  after(async () => {
    await engine.dispose();
    rmSync(root, { recursive: true });
  });

  it('writes the same bytes for the same seed and data', async () => {
    await train(join(root, 'b', '1'));
    const files = readdirSync(join(root, 'a', '1')).sort();
    assert.ok(files.includes('manifest.json') && files.includes('MODEL_CARD.md'));
    for (const file of files) {
      const [first, second] = ['a', 'b'].map((folder) => readFileSync(join(root, folder, '1', file)));
      assert.ok(first!.equals(second!), `${file} differs`);
    }
  });

  it('writes a golden batch that the wasm engine reproduces', async () => {
    const wasm = await createEngine('wasm');
    const result = await runGoldenCheck(wasm, bundle);
    await wasm.dispose();
    assert.ok(result.passed, result.reason);
  });

  it('separates fit and calibration images', () => {
    const { training, calibration } = bundle.manifest;
    assert.equal(training.images.fit + training.images.validation, 44);
    assert.deepEqual(
      training.sourceImages,
      split.fit.map((image) => image.id),
    );
    assert.equal(calibration.imageScores.length, split.calibrationB.length);
    assert.ok(Math.max(...bundle.bank.sources) < training.images.fit);
  });

  it('separates effusions from normal images and localises them', () => {
    const { normal, classes } = detail.evaluation;
    assert.equal(normal.count, 10);
    const effusion = classes['effusion']!;
    assert.equal(effusion.count, 8);
    assert.ok(effusion.auroc > 0.8, `AUROC ${effusion.auroc}`);
    assert.ok((effusion.localisation?.patchAuroc ?? 0) > 0.8);
    assert.ok((effusion.localisation?.aupro ?? 0) > 0.4, `AUPRO ${effusion.localisation?.aupro}`);
    // About ten calibration images can guarantee 10 %, but not 5 %.
    assert.equal(normal.falsePositiveRate['0.05'], null);
    assert.ok(normal.falsePositiveRate['0.10'] !== null);
  });

  it('scores an image as streaming does, where tiles are scored while rows arrive', async () => {
    const file = 'effusion/201.png';
    const evaluated = detail.images.find((image) => image.id === file)!;
    const { rows, columns, samples } = await decodeImage(readFileSync(join(testFolder, file)), {
      maxPixels: 1e6,
    });
    const { input, tiling, calibration, scoring } = bundle.manifest;
    const { geometry } = bundle;
    const image = new WorkingImage(
      geometry,
      input,
      defaultPixelFormat(rows, columns, 8),
      tiling.minStd,
      'rows',
    );
    const model = await engine.load(bundle);
    const patches = allocatePatchBatch(1, model);
    const scores = new Float32Array(geometry.patchGrid ** 2).fill(Number.NaN);
    const score = async (tile: TileIndex): Promise<void> => {
      const { row, column } = tilePositionOf(geometry, tile);
      const background = new Set(image.backgroundPatches(tile));
      const pixels = new Uint8Array(geometry.tilePixels);
      image.cutTile(tile, pixels);
      await model.run({ count: 1, pixels, positions: Int32Array.of(row, column) }, patches);
      const columns = geometry.patchesPerTile / 2;
      for (let patch = 0; patch < geometry.patchesPerTile; patch += 1) {
        const at =
          (2 * row + Math.floor(patch / columns)) * geometry.patchGrid + column * columns + (patch % columns);
        if (!background.has(at)) scores[at] = patches.scores[patch]!;
      }
    };
    let early = 0;
    for (let row = 0; row < rows; row += 7) {
      const ready = image.pushRows(samples.subarray(row * columns, Math.min(rows, row + 7) * columns));
      if (row + 7 < rows) early += ready.length;
      for (const tile of ready) await score(tile);
    }
    for (const tile of image.complete()) await score(tile);
    await model.dispose();
    assert.ok(early > 0, 'no tile was ready before the last row');
    const streamed = aggregateImage({ scores, secondView: 0 }, { calibration, scoring }, geometry).score;
    const difference = Math.abs(streamed - evaluated.score);
    assert.ok(difference <= imageScoreErrorMax(calibration), `${streamed} against ${evaluated.score}`);
  });

  it('reports on one page without outside files, with charts and the pictures that were kept', () => {
    const html = evaluationReport(detail, bundle);
    assertSelfContained(html);
    const { hits, misses, falseAlarms } = detail.pictures;
    const shown = [...hits, ...misses, ...falseAlarms];
    assert.equal(hits.length, 2);
    assert.equal(html.match(/<section class="image"/g)?.length, shown.length);
    assert.equal(html.match(/data:image\/jpeg;base64,/g)?.length, shown.length);
    assert.equal(html.match(/data:image\/png;base64,/g)?.length, shown.length);
    assert.equal(html.match(/<svg xmlns/g)?.length, 2, 'two charts');
    assert.ok(html.includes(detail.evaluation.classes['effusion']!.auroc.toFixed(3)));
  });

  it('stops when its signal aborts', async () => {
    const abort = new AbortController();
    abort.abort();
    await assert.rejects(
      train(join(root, 'c', '1'), { signal: abort.signal }),
      (error) => error instanceof SaladError && error.reason === 'CANCELLED',
    );
  });

  it('cross-fits the calibration over all normals and aligns, where the preset does', async () => {
    const { bundle: aligned, split: whole } = await train(join(root, 'e', '1'), {
      presetName: 'gabor',
      validation: null,
    });
    const { calibration, training, input } = aligned.manifest;
    assert.equal(training.images.fit, 44);
    assert.equal(whole.calibrationB.length, 0);
    assert.equal(calibration.imageScores.length, 44);
    assert.ok(input.alignment);
    const { evaluation } = await evaluateBundle({
      bundle: aligned,
      engine,
      dataset: await loadDataset(testFolder),
    });
    // 44 normals can guarantee 5 %, a held-out fifth of them could not. Scored against their own bank, all would be 0.
    assert.notEqual(evaluation.normal.falsePositiveRate['0.05'], null);
    assert.ok(evaluation.normal.falsePositiveRate['0.10']! <= 0.5);
    assert.ok(evaluation.classes['effusion']!.auroc > 0.8);
  });

  it('trains a small SALAD encoder, reports its epochs, and builds a bundle with it', async () => {
    const epochs: number[] = [];
    const salad = saladPreset('salad', 96);
    const toy = { ...salad.config, baseWidth: 4, embedding: 32, warmupEpochs: 1 };
    const { bundle: learned } = await train(join(root, 'd', '1'), {
      presetName: 'salad',
      plan: learnedPlan({ ...salad, config: toy }),
      validation: 0.8,
      onProgress: (progress) => {
        if (progress.epochEnded) epochs.push(progress.losses?.['loss'] ?? Number.NaN);
      },
    });
    assert.ok(epochs.length >= 3 && epochs.every(Number.isFinite), `${epochs}`);
    assert.equal(learned.manifest.network.output, 'embedding');
    const dataset = await loadDataset(testFolder);
    const { evaluation } = await evaluateBundle({ bundle: learned, engine, dataset });
    assert.ok(evaluation.classes['effusion']!.auroc > 0.5);
  });

  it('refuses to evaluate in bfloat16 on an engine without it', async () => {
    const dataset = await loadDataset(testFolder);
    await assert.rejects(
      evaluateBundle({ bundle, engine, dataset, precision: 'bfloat16' }),
      /--precision bfloat16: it needs the openvino engine/,
    );
  });
});
