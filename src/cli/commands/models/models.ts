import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { type Bundle, readBundle } from '../../../bundle/bundle.js';
import { findBundle, modelKey, openBundles } from '../../../bundle/repository.js';
import { runGoldenCheck } from '../../../engines/selection/golden-check.js';
import { createEngine } from '../../../engines/selection/select.js';
import { SaladError } from '../../../errors/index.js';
import { inputWidthOf } from '../../../network/description.js';
import { buildOnnx } from '../../../network/onnx/build.js';
import { minFalsePositiveRate } from '../../../scoring/calibration.js';
import { searchPlan } from '../../../scoring/search-plan.js';
import { shippedModels } from '../../../util/package-root.js';
import type { ProgramContext } from '../../shared/context.js';
import { reportFailure } from '../../shared/failure.js';
import { type Example, helpText } from '../../shared/help.js';
import { EXIT, print, printJson, table } from '../../shared/output.js';
import { prepareFiles } from '../../shared/output-files.js';
import { refuseUnusedTargetFlags, type TargetFlags, withTargetFlags } from '../../shared/target.js';
import { fetchBundle } from './fetch.js';
import { listOnTarget, registerTargetCommands } from './target.js';

interface ModelsFlags {
  readonly models: string;
  readonly json?: boolean;
}

const MODEL_ARGUMENT = 'NAME, NAME@VERSION or a bundle folder';

export function registerModels(program: Command, context: ProgramContext): void {
  const models = program
    .command('models')
    .summary('list, inspect, verify, export and fetch model bundles; load them into a running server')
    .description(
      'Lists, inspects, verifies, exports and fetches model bundles; loads them into a running server, and unloads them.',
    )
    .addHelpText(
      'after',
      helpText(
        [],
        [
          ['salad models list', 'list the shipped models'],
          ['salad models inspect chest-pediatric', 'print the properties of a model'],
          ['salad models verify chest-pediatric@1 --json', 'check a model on this machine, for a program'],
          ['salad models export chest-pediatric --onnx chest.onnx', 'write a model as an ONNX file'],
        ],
      ),
    );
  withTargetFlags(
    configure(models.command('list'), {
      summary: 'list and check all bundles of the models folder, or the models of a running server',
      description:
        'Lists and checks all bundles of the models folder; with --target the models of a running server and their ' +
        'states.',
      example: ['salad models list --models /srv/models', 'list the bundles of a folder'],
    }),
    'list the models of this server instead',
  ).action((flags: ModelsFlags & TargetFlags) => {
    refuseUnusedTargetFlags(flags);
    return flags.target === undefined ? list(flags) : listOnTarget(flags, context.environment);
  });
  registerTargetCommands(models, context);
  registerReadingCommands(models);
  registerFileCommands(models);
}

/** Commands that read one bundle. */
function registerReadingCommands(models: Command): void {
  configure(models.command('inspect').argument('<model>', MODEL_ARGUMENT), {
    summary: 'print the properties of a bundle',
    description:
      'Prints the properties of a bundle: grids, network, scoring, memory bank, calibration and training.',
    example: ['salad models inspect models/mine/1 --json', 'print the properties as JSON'],
  }).action(inspect);
  configure(models.command('verify').argument('<model>', MODEL_ARGUMENT), {
    summary: 'check the files of a bundle and its golden scores',
    description:
      'Checks the hashes, schema and shapes of a bundle, and whether an engine on this machine reproduces its golden ' +
      'scores. Exits with code 1 if a check fails.',
    example: ['salad models verify chest-pediatric@1', 'check one version of a model'],
  }).action(verify);
}

/** Commands that write files: a model in another format, or a bundle from elsewhere. */
function registerFileCommands(models: Command): void {
  configure(
    models
      .command('export')
      .argument('<model>', MODEL_ARGUMENT)
      .requiredOption('--onnx <file>', 'ONNX file (opset 18) to write'),
    {
      summary: 'write the encoder and the memory-bank search as an ONNX file',
      description: 'Writes the encoder and the memory-bank search of a bundle as one ONNX file.',
      example: ['salad models export phantom --onnx phantom.onnx', 'export a shipped model'],
    },
  ).action(exportModel);
  configure(
    models
      .command('fetch')
      .argument('<url>', 'http(s) address of the folder with the files of a bundle')
      .requiredOption(
        '--sha256 <hash>',
        'expected SHA-256 of its manifest.json, which contains the hashes of the other files ' +
          '("salad models inspect" prints it)',
      ),
    {
      summary: 'download a bundle into the models folder and check its hash',
      description: 'Downloads a bundle into the models folder. A bundle with another hash is refused.',
      example: [
        'salad models fetch https://models.example/phantom/1 --sha256 2f0c...',
        'download version 1 of the model "phantom"',
      ],
    },
  ).action(fetchModel);
}

interface CommandTexts {
  readonly summary: string;
  readonly description: string;
  readonly example: Example;
}

/** Adds the texts and the options that all sub-commands share. */
function configure(command: Command, { summary, description, example }: CommandTexts): Command {
  return command
    .summary(summary)
    .description(description)
    .option('--models <dir>', 'folder of bundles', shippedModels())
    .option('--json', 'print one JSON object')
    .addHelpText('after', helpText([], [example]));
}

async function openBundle(flags: ModelsFlags, model: string): Promise<Bundle> {
  return readBundle(await findBundle(flags.models, model));
}

/** The properties of a bundle, without its long arrays. */
function propertiesOf(bundle: Bundle): Record<string, unknown> & { readonly model: string } {
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

/** The search that a server with default limits would use. An index is built, and its recall measured, at load time. */
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
      rows.push({ usable: true, ...propertiesOf(finding.bundle), directory: finding.bundle.directory });
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
  if (rows.length === 0) {
    print(
      `no bundles in ${flags.models}; train one (salad train --help) or fetch one (salad models fetch --help)`,
    );
  } else {
    print(
      table(
        ['model', 'usable', 'description'],
        rows.map((row) => [
          row.model,
          row.usable ? 'yes' : 'no',
          String(row.usable ? row['description'] : row['reason']),
        ]),
      ),
    );
  }
  for (const { directory, reason } of ignored) print(`ignored: ${directory}: ${reason}`);
}

/** Longest word that people read; longer ones are encoded data, such as the reference image of an alignment. */
const WORD_MAX = 80;

function shownValue(value: unknown): string {
  if (typeof value === 'number') return String(Number(value.toPrecision(6)));
  return typeof value === 'string' ? shortened(value) : JSON.stringify(value);
}

function shortened(text: string): string {
  const isData = text.length > WORD_MAX && /^[A-Za-z0-9+/=_-]+$/.test(text);
  return isData ? `${text.slice(0, 16)}… (${text.length} characters; all of them with --json)` : text;
}

/** Formats nested values as lines of `path: value`. */
function formatNested(value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [`${path}: ${shownValue(value)}`];
  }
  return Object.entries(value).flatMap(([key, each]) =>
    formatNested(each, path === '' ? key : `${path}.${key}`),
  );
}

async function inspect(model: string, flags: ModelsFlags): Promise<void> {
  const properties = propertiesOf(await openBundle(flags, model));
  if (flags.json) printJson(properties);
  else print(formatNested(properties, '').join('\n'));
}

async function verify(model: string, flags: ModelsFlags): Promise<void> {
  const bundle = await openBundle(flags, model);
  // Falls back to wasm, which needs no native library, so that a bundle can be checked on every machine.
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
      ? `${name}: files, shapes and golden scores are correct (largest score error ${error})`
      : `${name}: refused, ${result.reason}`,
  );
}

async function exportModel(model: string, flags: ModelsFlags & { readonly onnx: string }): Promise<void> {
  const bundle = await openBundle(flags, model);
  await prepareFiles([{ flag: '--onnx', path: flags.onnx, format: 'onnx' }]);
  const bytes = buildOnnx(bundle);
  await writeFile(flags.onnx, bytes);
  const name = modelKey(bundle.manifest);
  if (flags.json) printJson({ model: name, onnx: flags.onnx, bytes: bytes.length });
  else print(`${name}: wrote ${bytes.length} bytes to ${flags.onnx}`);
}

async function fetchModel(url: string, flags: ModelsFlags & { readonly sha256: string }): Promise<void> {
  let fetched: Awaited<ReturnType<typeof fetchBundle>>;
  try {
    fetched = await fetchBundle({ url, sha256: flags.sha256.toLowerCase(), models: flags.models });
  } catch (error) {
    // An address without an answer is a failure of the work, unlike the name of a model that is not there.
    if (!(error instanceof SaladError && error.reason === 'MODEL_NOT_FOUND')) throw error;
    reportFailure(error, flags.json === true);
    process.exitCode = EXIT.failure;
    return;
  }
  if (flags.json) printJson(fetched);
  else print(`${fetched.model}: ${fetched.isNew ? 'fetched to' : 'is already in'} ${fetched.directory}`);
}
