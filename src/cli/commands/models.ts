import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { type Bundle, readBundle } from '../../bundle/bundle.js';
import { findBundle, modelKey, openBundles } from '../../bundle/repository.js';
import { runGoldenCheck } from '../../engines/selection/golden-check.js';
import { createEngine } from '../../engines/selection/select.js';
import { SaladError } from '../../errors/index.js';
import { inputWidthOf } from '../../network/description.js';
import { buildOnnx } from '../../network/onnx/build.js';
import { minFalsePositiveRate } from '../../scoring/calibration.js';
import { searchPlan } from '../../scoring/search-plan.js';
import { shippedModels } from '../../util/package-root.js';
import { EXIT, print, printJson, table } from '../shared/output.js';
import { fetchBundle } from './models-fetch.js';

interface ModelsFlags {
  readonly models: string;
  readonly json?: boolean;
}

const MODEL_ARGUMENT = 'NAME, NAME@VERSION or a bundle folder';

export function registerModels(program: Command): void {
  const models = program
    .command('models')
    .description('look at model bundles and check them')
    .addHelpText(
      'after',
      `
Examples:
  salad models list
  salad models inspect chest-pediatric
  salad models verify chest-pediatric@1 --json
  salad models export chest-pediatric --onnx chest.onnx`,
    );
  verb(
    models.command('list'),
    'all bundles of the models folder, checked',
    'salad models list --models /srv/models',
  ).action(list);
  verb(
    models.command('inspect').argument('<model>', MODEL_ARGUMENT),
    'what a bundle is made of: grids, scoring, bank, calibration, training',
    'salad models inspect models/mine/1 --json',
  ).action(inspect);
  verb(
    models.command('verify').argument('<model>', MODEL_ARGUMENT),
    'hashes, schema, shapes, and the golden batch on this machine; exit 1 where something is wrong',
    'salad models verify chest-pediatric@1',
  ).action(verify);
  verb(
    models
      .command('export')
      .argument('<model>', MODEL_ARGUMENT)
      .requiredOption('--onnx <file>', 'where the ONNX model (opset 18) is written'),
    'encoder and memory-bank search as one ONNX file',
    'salad models export phantom --onnx phantom.onnx',
  ).action(exportModel);
  verb(
    models
      .command('fetch')
      .argument('<url>', 'http(s) folder that holds the files of a bundle')
      .requiredOption(
        '--sha256 <hash>',
        'of its manifest.json, which pins the other files (models inspect prints it)',
      ),
    'a bundle into the models folder, if it is exactly the one that was meant',
    'salad models fetch https://models.example/phantom/1 --sha256 2f0c... --models /srv/models',
  ).action(fetchModel);
}

/** What all verbs share. */
function verb(command: Command, description: string, example: string): Command {
  return command
    .description(description)
    .option('--models <dir>', 'folder of bundles', shippedModels())
    .option('--json', 'one JSON object')
    .addHelpText('after', `\nExample:\n  ${example}`);
}

async function open(flags: ModelsFlags, model: string): Promise<Bundle> {
  return readBundle(await findBundle(flags.models, model));
}

/** Everything about a bundle that is not a long array. */
function summary(bundle: Bundle): Record<string, unknown> & { readonly model: string } {
  const { manifest, geometry, sha256, directory } = bundle;
  const { calibration, scoring, training } = manifest;
  return {
    model: modelKey(manifest),
    directory,
    sha256,
    description: manifest.description,
    input: manifest.input,
    geometry,
    network: {
      inputSize: manifest.network.inputSize,
      inputWidth: inputWidthOf(manifest.network),
      nodes: manifest.network.nodes.length,
      weights: [...bundle.weights.values()].reduce((sum, { data }) => sum + data.length, 0),
    },
    scoring,
    bank: { ...manifest.bank, search: plannedSearch(bundle) },
    calibration: {
      images: calibration.imageScores.length,
      strata: calibration.strata?.length ?? 0,
      minFalsePositiveRate: minFalsePositiveRate(calibration),
    },
    training: {
      ...training,
      sourceImages: training.sourceImages.length,
      pixelHashes: training.pixelHashes?.length ?? 0,
      calibrationPixelHashes: training.calibrationPixelHashes?.length ?? 0,
    },
    goldenTolerance: manifest.goldenTolerance,
    precisions: ['float32'],
    bytes: Object.values(manifest.files).reduce((sum, file) => sum + file.bytes, 0),
  };
}

/** What a server would do with the default limits; an index is built, and its recall measured, when it loads. */
function plannedSearch({ search, geometry }: Bundle): string {
  const { kind } = searchPlan({ ...search, geometry });
  return {
    exact: 'exact',
    window: 'exact (search window)',
    index: 'index (usearch, recall measured at load)',
  }[kind];
}

async function list(flags: ModelsFlags): Promise<void> {
  const rows: { model: string; directory: string; usable: boolean; [more: string]: unknown }[] = [];
  const ignored: { directory: string; reason: string }[] = [];
  for await (const finding of openBundles(flags.models)) {
    if (finding.kind === 'bundle') {
      rows.push({ usable: true, ...summary(finding.bundle), directory: finding.bundle.directory });
    } else if (finding.kind === 'refused') {
      const { directory, model = directory, error } = finding;
      rows.push({ model, directory, usable: false, reason: error.message });
    } else {
      const { directory, reason } = finding;
      ignored.push({ directory, reason });
    }
  }
  if (flags.json) {
    printJson({ models: rows, ignored });
    return;
  }
  if (rows.length === 0) print(`no bundles in ${flags.models}; make one with: salad train --help`);
  else {
    const text = (row: (typeof rows)[number]): string =>
      String(row.usable ? row['description'] : row['reason']);
    print(
      table(
        ['model', 'usable', 'description'],
        rows.map((row) => [row.model, row.usable ? 'yes' : 'no', text(row)]),
      ),
    );
  }
  for (const { directory, reason } of ignored) print(`ignored: ${directory}: ${reason}`);
}

/** Nested values as `path: value` lines. */
function lines(value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [`${path}: ${typeof value === 'string' ? value : JSON.stringify(value)}`];
  }
  return Object.entries(value).flatMap(([key, each]) => lines(each, path === '' ? key : `${path}.${key}`));
}

async function inspect(model: string, flags: ModelsFlags): Promise<void> {
  const facts = summary(await open(flags, model));
  if (flags.json) printJson(facts);
  else print(lines(facts, '').join('\n'));
}

async function verify(model: string, flags: ModelsFlags): Promise<void> {
  const bundle = await open(flags, model);
  // wasm runs wherever Node does: a missing native library must not keep anybody from checking a bundle.
  const engine = await createEngine('onnx').catch(() => createEngine('wasm'));
  const result = await runGoldenCheck(engine, bundle);
  await engine.dispose();
  const name = modelKey(bundle.manifest);
  if (!result.passed) process.exitCode = EXIT.failure;
  if (flags.json) {
    printJson({
      model: name,
      directory: bundle.directory,
      sha256: bundle.sha256,
      valid: result.passed,
      engine: engine.info.name,
      maxAbsScoreError: result.maxAbsScoreError,
      ...(result.reason === undefined ? {} : { reason: result.reason }),
    });
    return;
  }
  const error = result.maxAbsScoreError?.toExponential(1);
  print(
    result.passed
      ? `${name}: files, shapes and golden scores are right (largest score error ${error})`
      : `${name}: refused, ${result.reason}`,
  );
}

async function exportModel(model: string, flags: ModelsFlags & { readonly onnx: string }): Promise<void> {
  const bundle = await open(flags, model);
  const bytes = buildOnnx(bundle);
  try {
    await writeFile(flags.onnx, bytes);
  } catch (error) {
    throw new SaladError('CONFIGURATION_INVALID', `${flags.onnx} cannot be written`, { cause: error });
  }
  const name = modelKey(bundle.manifest);
  if (flags.json) printJson({ model: name, onnx: flags.onnx, bytes: bytes.length });
  else print(`${name}: wrote ${bytes.length} bytes to ${flags.onnx}`);
}

async function fetchModel(url: string, flags: ModelsFlags & { readonly sha256: string }): Promise<void> {
  const fetched = await fetchBundle({ url, sha256: flags.sha256.toLowerCase(), models: flags.models });
  if (flags.json) printJson(fetched);
  else print(`${fetched.model}: ${fetched.isNew ? 'fetched to' : 'is already in'} ${fetched.directory}`);
}
