import { cpus, totalmem } from 'node:os';
import type { Command } from 'commander';
import { type Bundle, readBundle } from '../../../bundle/bundle.js';
import { findBundle, type IgnoredFolder, modelKey, openBundles } from '../../../bundle/repository.js';
import { loadConfig } from '../../../config/load.js';
import type { ServeConfig } from '../../../config/schema.js';
import type { EngineName } from '../../../engines/engine.js';
import { bestEngine, checkEngines, type EngineReport } from '../../../engines/selection/select.js';
import { SaladError } from '../../../errors/index.js';
import { inPrecision, type Precision, supportedPrecision } from '../../../network/precision.js';
import { shippedModels } from '../../../util/package-root.js';
import { type ConfigFlags, configOf, withConfigFlags } from '../../shared/config-flags.js';
import type { ProgramContext } from '../../shared/context.js';
import { helpText } from '../../shared/help.js';
import { EXIT, print, printJson, table } from '../../shared/output.js';
import { type TargetFlags, withTargetFlags } from '../../shared/target.js';
import { type Check, memoryChecks, portChecks } from './checks.js';
import { askTarget, type TargetReport } from './target.js';

type DoctorFlags = ConfigFlags & TargetFlags & { readonly model?: string; readonly json?: boolean };

export function registerDoctor(program: Command, context: ProgramContext): void {
  withTargetFlags(
    withConfigFlags(program.command('doctor')),
    'examine this running server instead of this machine',
  )
    .summary('check whether a server would start here, and on which engine')
    .description(
      'Checks whether a server would start on this machine, which engine it would use, and what is wrong.',
    )
    .option('--model <name|dir>', 'bundle whose golden batch checks the engines (default: all valid bundles)')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      helpText(
        [
          'Checks the engines (each must reproduce the golden scores of the bundles), the configuration, ' +
            'certificates, key files, bundles and memory. Exits with code 1 if a problem would prevent a start, or ' +
            'keep a bundle from being served.',
        ],
        [
          ['salad doctor', 'check this machine with the shipped models'],
          ['salad doctor --engine wasm --json', 'check one engine, for a program'],
          [
            'salad doctor --config salad.yaml --model chest-pediatric',
            'check a configuration, with one model',
          ],
          ['salad doctor --target 127.0.0.1:50051', 'show which engine serves there'],
        ],
      ),
    )
    .action((flags: DoctorFlags) => doctor(flags, context));
}

interface ModelReport {
  readonly model: string;
  readonly usable: boolean;
  readonly reason: string | null;
}

interface Report {
  readonly engine: EngineName | null;
  readonly engines: readonly EngineReport[];
  readonly checks: readonly Check[];
  readonly models: readonly ModelReport[];
  /** Folders that are not bundles. */
  readonly ignored: readonly Omit<IgnoredFolder, 'kind'>[];
  /** The bundles whose golden scores checked the engines. */
  readonly provenWith: readonly string[];
  /** The first of `provenWith`. */
  readonly model: string | null;
  /** Findings that would prevent a start, or keep a bundle from being served. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  readonly machine: Machine;
}

type Machine = ReturnType<typeof describeMachine>;

async function doctor(flags: DoctorFlags, context: ProgramContext): Promise<void> {
  const { target } = flags;
  const report =
    target === undefined
      ? await examine(flags, context)
      : await askTarget({ ...flags, target }, context.environment);
  if (report.problems.length > 0) process.exitCode = EXIT.failure;
  if (flags.json) printJson(report);
  else if ('target' in report) printTarget(report);
  else printReport(report);
}

async function examine(flags: DoctorFlags, context: ProgramContext): Promise<Report> {
  const { config, problems: configProblems } = await openConfig(flags, context);
  const { bundles, models: foundModels, ignored } = await findModels(config.models);
  const checkBundles =
    flags.model === undefined ? bundles : [await readBundle(await findBundle(config.models, flags.model))];
  const precision = supportedPrecision(config.precision);
  const engines = await checkEngines(
    config.engine,
    checkBundles.map((bundle) => inPrecision(bundle, precision)),
    { openvinoFolder: config.openvinoFolder, onnxProvider: config.onnxProvider },
  );
  const serving = engines.some(({ usable }) => usable) ? bestEngine(engines) : undefined;
  const provenWith = checkBundles.map(({ manifest }) => modelKey(manifest));
  const models = foundModels.map((model) => applyGoldenCheck(model, checkBundles, serving));
  const checks = [...(await portChecks(config)), ...(await memoryChecks(config))];
  const checksInState = (state: Check['state']) =>
    checks.filter((check) => check.state === state).map(({ name, detail }) => `${name}: ${detail}`);
  return {
    engine: serving?.name ?? null,
    engines,
    checks,
    models,
    ignored,
    provenWith,
    model: provenWith[0] ?? null,
    problems: [
      ...configProblems,
      ...models.flatMap(({ model, reason }) => (reason === null ? [] : [`${model}: ${reason}`])),
      ...(models.length === 0
        ? [
            `no bundles in ${config.models.join(', ')}: the scores of the engines were not checked; train or fetch a bundle`,
          ]
        : []),
      ...(serving === undefined ? ['no engine is usable: the table of engines gives the reasons'] : []),
      ...checksInState('problem'),
    ],
    warnings: [
      ...ignored.map(({ directory, reason }) => `${directory} is ignored: ${reason}`),
      ...precisionWarnings(precision, checkBundles, serving),
      ...checksInState('warning'),
    ],
    machine: describeMachine(),
  };
}

/** Marks a bundle as unusable if the serving engine does not reproduce its golden scores. */
function applyGoldenCheck(
  report: ModelReport,
  checkBundles: readonly Bundle[],
  serving: EngineReport | undefined,
): ModelReport {
  const index = checkBundles.findIndex(({ manifest }) => modelKey(manifest) === report.model);
  const result = serving?.selfTests[index];
  if (!report.usable || result === undefined || result.passed) return report;
  return {
    ...report,
    usable: false,
    reason: `${serving?.name}: ${result.reason ?? 'the golden check failed'}`,
  };
}

function precisionWarnings(
  requested: Precision,
  checkBundles: readonly Bundle[],
  serving: EngineReport | undefined,
): readonly string[] {
  return checkBundles.flatMap(({ manifest }, index) => {
    const precision = serving?.selfTests[index]?.precision ?? requested;
    if (precision === requested) return [];
    return [
      `${modelKey(manifest)}: ${serving?.name} runs it in ${precision} instead of the requested ${requested}`,
    ];
  });
}

/** Reads the configuration; if it is invalid, the other checks use the defaults. */
async function openConfig(
  flags: DoctorFlags,
  context: ProgramContext,
): Promise<{ readonly config: ServeConfig; readonly problems: readonly string[] }> {
  try {
    return { config: (await configOf(flags, context)).config, problems: [] };
  } catch (error) {
    const { reason, message } = SaladError.from(error);
    if (reason !== 'CONFIGURATION_INVALID') throw error;
    const config = await loadConfig({ defaults: { models: flags.models ?? [shippedModels()] } });
    return { config, problems: message.split('\n').map((line) => `configuration: ${line}`) };
  }
}

/** Finds the bundles that a server would read. */
async function findModels(folders: readonly string[]) {
  const models: ModelReport[] = [];
  const bundles: Bundle[] = [];
  const ignored: Omit<IgnoredFolder, 'kind'>[] = [];
  for await (const finding of openBundles(...folders)) {
    if (finding.kind === 'bundle') {
      bundles.push(finding.bundle);
      models.push({ model: finding.model, usable: true, reason: null });
    } else if (finding.kind === 'refused') {
      const { directory, model = directory, error } = finding;
      models.push({ model, usable: false, reason: error.message });
    } else {
      ignored.push({ directory: finding.directory, reason: finding.reason });
    }
  }
  return { bundles, models, ignored };
}

function describeMachine() {
  const processors = cpus();
  return {
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    processor: processors[0]?.model.trim() ?? null,
    cores: processors.length,
    memoryBytes: totalmem(),
  };
}

function printReport(report: Report): void {
  const { engine, engines, checks, models, provenWith, problems, warnings, machine } = report;
  const { node, platform, cores, processor } = machine;
  print(`Node ${node} on ${platform}, ${cores} cores, ${processor ?? 'unknown processor'}`);
  const usableModels = models.filter(({ usable }) => usable).map((each) => each.model);
  print(
    provenWith.length === 0
      ? 'Engines (no bundle to check their scores with):'
      : `Engines, checked with the golden scores of ${provenWith.join(', ')}:`,
  );
  print();
  print(
    table(
      ['engine', 'usable', 'device', 'largest score error', 'reason'],
      engines.map(({ name, usable, device, maxAbsScoreError, reason }) => [
        name === engine ? `${name} (serves)` : name,
        usable ? 'yes' : 'no',
        device ?? '-',
        maxAbsScoreError?.toExponential(1) ?? '-',
        reason ?? '',
      ]),
    ),
  );
  print();
  print(
    table(
      ['check', 'state', ''],
      [
        [
          'models',
          usableModels.length === models.length ? 'ok' : 'problem',
          `files, shapes and golden scores are correct: ${usableModels.join(', ')}`,
        ],
        ...checks.map(({ name, state, detail }) => [name, state, detail]),
      ],
    ),
  );
  for (const warning of warnings) print(`\nwarning: ${warning}`);
  for (const problem of problems) print(`\nproblem: ${problem}`);
}

function printTarget({ target, serving, engine, engines, models, problems }: TargetReport): void {
  print(`${target}: ${serving ? 'SERVING' : 'not serving'}, engine ${engine ?? 'none'}`);
  const states = engines.map(({ name, state }) => [name, state]);
  if (states.length > 0) print(`\n${table(['engine', 'state'], states)}`);
  if (models !== null) print(`\nmodels: ${models.join(', ')}`);
  for (const problem of problems) print(`\nproblem: ${problem}`);
}
