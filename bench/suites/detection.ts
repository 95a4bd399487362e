/**
 * Suite `detection`: evaluates the shipped bundles on phantoms with unused seeds, and on the radiographs in
 * ../shared/data. Then evaluates them on the same radiographs with changes that another X-ray room would cause, and
 * compares the figures with those of the unchanged images.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Bundle, readBundle } from '../../src/bundle/bundle.js';
import { findBundle } from '../../src/bundle/repository.js';
import { note } from '../../src/cli/shared/output.js';
import type { Engine } from '../../src/engines/engine.js';
import { createEngine } from '../../src/engines/selection/select.js';
import { type Dataset, loadDataset, NORMAL } from '../../src/training/data/dataset.js';
import { type Evaluation, evaluateBundle } from '../../src/training/evaluate/evaluate.js';
import { halfOf } from '../../src/training/evaluate/test-half.js';
import { packageRoot, shippedModels } from '../../src/util/package-root.js';
import { marker, markerMask, PERTURBATIONS, type Perturbation } from '../detection/perturb.js';
import { sameViewAndDetector } from '../detection/subsets.js';
import type { BenchOptions } from '../support/options.js';
import { writePhantoms } from '../support/phantoms.js';

/** Test data of each model, in ../shared/data. */
const TEST_FOLDERS = { 'chest-pediatric': 'zhanglab/test', 'chest-adult': 'nih-rsna/test' } as const;

export async function benchDetection({ quick }: BenchOptions): Promise<Record<string, unknown>> {
  const scratch = mkdtempSync(join(tmpdir(), 'salad-detection-'));
  const engine = await createEngine('onnx');
  try {
    const results: Record<string, unknown> = { phantom: await evaluateOnPhantoms(engine, scratch, quick) };
    for (const [model, folder] of Object.entries(TEST_FOLDERS)) {
      const data = join(packageRoot(), '../shared/data', folder);
      results[model] = existsSync(data)
        ? await evaluateOnRadiographs(engine, model, data, scratch, quick)
        : { skipped: `${data} does not exist` };
    }
    return results;
  } finally {
    await engine.dispose();
    rmSync(scratch, { recursive: true });
  }
}

async function evaluateOnPhantoms(
  engine: Engine,
  scratch: string,
  quick: boolean,
): Promise<Record<string, unknown>> {
  const data = join(scratch, 'phantoms');
  // Seeds that were used neither for training nor for choosing settings.
  writePhantoms(data, '--count', quick ? '20' : '100', '--seed', '900000');
  writePhantoms(data, '--count', quick ? '20' : '160', '--seed', '910000', '--lesion', 'mix');
  return figuresOf(await readShippedBundle('phantom'), engine, await loadDataset(data));
}

async function evaluateOnRadiographs(
  engine: Engine,
  model: string,
  data: string,
  scratch: string,
  quick: boolean,
): Promise<Record<string, unknown>> {
  const bundle = await readShippedBundle(model);
  // The other part of the images is for published results alone.
  const dataset = halfOf(await loadDataset(data), 'choose');
  const original = await figuresOf(bundle, engine, dataset);
  const changed: Record<string, unknown> = {};
  for (const [name, perturb] of quick ? [] : Object.entries(PERTURBATIONS)) {
    note(`bench: ${model}, ${name} ...`);
    const folder = join(scratch, model, name.replace(/\W+/g, '-'));
    await writePerturbed(dataset, perturb, folder);
    changed[name] = mainFigures((await evaluate(bundle, engine, await loadDataset(folder))).evaluation);
  }
  return {
    ...original,
    sameViewAndDetector: await evaluateSubset(bundle, engine, sameViewAndDetector(dataset)),
    markerOnNormals: await evaluateMarkedNormals(
      bundle,
      engine,
      dataset,
      join(scratch, model, 'marked-normals'),
    ),
    changed,
  };
}

async function evaluateSubset(bundle: Bundle, engine: Engine, subset: Dataset | null): Promise<unknown> {
  return subset === null ? null : (await evaluate(bundle, engine, subset)).evaluation;
}

/**
 * Evaluates normal images with a burned-in marker as a class of their own: whether the marker raises the image score,
 * and whether the top patch is on it.
 */
async function evaluateMarkedNormals(
  bundle: Bundle,
  engine: Engine,
  dataset: Dataset,
  folder: string,
): Promise<Record<string, unknown>> {
  for (const { id, path } of dataset.images.filter(({ label }) => label === NORMAL)) {
    const file = `${id.slice(NORMAL.length + 1).replace(/\W+/g, '-')}.png`;
    for (const [place, make] of [
      [NORMAL, readFile],
      ['marked', marker],
      ['masks/marked', markerMask],
    ] as const) {
      const target = join(folder, place, file);
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, await make(path));
    }
  }
  const { evaluation } = await evaluate(bundle, engine, await loadDataset(folder));
  const { auroc, localisation } = evaluation.classes['marked']!;
  return { auroc, topPatchOnMarker: localisation?.pointingHit ?? null };
}

async function figuresOf(bundle: Bundle, engine: Engine, dataset: Dataset): Promise<Record<string, unknown>> {
  const { evaluation } = await evaluate(bundle, engine, dataset);
  return { bundleMB: folderBytes(bundle.directory) / 1e6, ...evaluation };
}

function evaluate(bundle: Bundle, engine: Engine, dataset: Dataset) {
  return evaluateBundle({ bundle, engine, dataset });
}

function mainFigures({ normal, classes }: Evaluation): Record<string, unknown> {
  const auroc = Object.fromEntries(Object.entries(classes).map(([label, figures]) => [label, figures.auroc]));
  return { auroc, falsePositiveRate: normal.falsePositiveRate };
}

async function writePerturbed(dataset: Dataset, perturb: Perturbation, folder: string): Promise<void> {
  for (const { id, path } of dataset.images) {
    const target = join(folder, id);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, await perturb(path));
  }
}

async function readShippedBundle(model: string): Promise<Bundle> {
  return readBundle(await findBundle(shippedModels(), model));
}

function folderBytes(directory: string): number {
  return readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
}
