import { cpus, totalmem } from 'node:os';
import type { Command } from 'commander';
import { type Bundle, readBundle } from '../../bundle/bundle.js';
import { findBundle, listBundles } from '../../bundle/repository.js';
import { loadConfig } from '../../config/load.js';
import type { ServeConfig } from '../../config/schema.js';
import type { EngineName } from '../../engines/engine.js';
import { ladder, type Rung } from '../../engines/selection/select.js';
import { SaladError } from '../../errors/index.js';
import { shippedModels } from '../../util/package-root.js';
import type { ProgramContext } from '../program.js';
import { type ConfigFlags, configOf, withConfigFlags } from '../shared/config-flags.js';
import { EXIT, print, printJson, table } from '../shared/output.js';
import { type TargetFlags, withTargetFlags } from '../shared/target.js';
import { type Check, memoryChecks, portChecks } from './doctor-checks.js';
import { askTarget, type TargetReport } from './doctor-target.js';

type DoctorFlags = ConfigFlags & TargetFlags & { readonly model?: string; readonly json?: boolean };

export function registerDoctor(program: Command, context: ProgramContext): void {
  withTargetFlags(
    withConfigFlags(program.command('doctor')),
    'a running server to ask, instead of this machine',
  )
    .description('would a server start here, on which engine, and what is wrong')
    .option(
      '--model <name|dir>',
      'bundle whose golden batch proves the engines (default: the first sound one)',
    )
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Looks at the engines (each must reproduce the golden scores of a bundle), the configuration, certificates, key
files, bundles and memory. Exit 1 where something would stop a start.

Examples:
  salad doctor
  salad doctor --engine wasm --json
  salad doctor --config salad.yaml --model chest-pediatric
  salad doctor --target 127.0.0.1:50051              which engine serves there`,
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
  readonly engines: readonly Rung[];
  readonly checks: readonly Check[];
  readonly models: readonly ModelReport[];
  /** The bundle that proved the engines. */
  readonly model: string | null;
  /** What would stop a start. */
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
  const { bundle, models } = await openBundles(config.models, flags.model);
  const engines = await ladder(config.engine, bundle, {
    openvinoFolder: config.openvinoFolder,
    onnxProvider: config.onnxProvider,
  });
  const checks = [...(await portChecks(config)), ...(await memoryChecks(config))];
  const engine = engines.find((rung) => rung.usable)?.name ?? null;
  const said = (state: Check['state']) =>
    checks.filter((check) => check.state === state).map(({ name, detail }) => `${name}: ${detail}`);
  return {
    engine,
    engines,
    checks,
    models,
    model: bundle === undefined ? null : `${bundle.manifest.name}@${bundle.manifest.version}`,
    problems: [
      ...configProblems,
      ...models.flatMap(({ model, reason }) => (reason === null ? [] : [`${model}: ${reason}`])),
      ...(models.length === 0 ? [`no bundles in ${config.models}: engines are started, not proven`] : []),
      ...(engine === null ? ['no engine is usable'] : []),
      ...said('problem'),
    ],
    warnings: said('warning'),
    machine: describeMachine(),
  };
}

/** Where the configuration is not sound the rest is looked at with the defaults. */
async function openConfig(
  flags: DoctorFlags,
  context: ProgramContext,
): Promise<{ readonly config: ServeConfig; readonly problems: readonly string[] }> {
  try {
    return { config: (await configOf(flags, context)).config, problems: [] };
  } catch (error) {
    const known = SaladError.from(error);
    if (known.reason !== 'CONFIGURATION_INVALID') throw error;
    const config = await loadConfig({ defaults: { models: flags.models ?? shippedModels() } });
    return { config, problems: known.message.split('\n').map((line) => `configuration: ${line}`) };
  }
}

async function openBundles(
  folder: string,
  wanted: string | undefined,
): Promise<{ readonly bundle: Bundle | undefined; readonly models: readonly ModelReport[] }> {
  const models: ModelReport[] = [];
  let bundle = wanted === undefined ? undefined : await readBundle(await findBundle(folder, wanted));
  for (const { name, version, directory } of await listBundles(folder)) {
    const model = `${name}@${version}`;
    try {
      const read = await readBundle(directory);
      bundle ??= read;
      models.push({ model, usable: true, reason: null });
    } catch (error) {
      models.push({ model, usable: false, reason: SaladError.from(error).message });
    }
  }
  return { bundle, models };
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

function printReport({ engine, engines, checks, models, model, problems, machine }: Report): void {
  const { node, platform, cores, processor } = machine;
  print(`Node ${node} on ${platform}, ${cores} cores, ${processor ?? 'unknown processor'}`);
  print(model === null ? 'No bundle to prove the engines with.' : `Engines proven with ${model}:`);
  print();
  print(
    table(
      ['engine', 'usable', 'device', 'largest score error', 'reason'],
      engines.map((rung) => [
        rung.name === engine ? `${rung.name} (serves)` : rung.name,
        rung.usable ? 'yes' : 'no',
        rung.device ?? '-',
        rung.maxAbsScoreError?.toExponential(1) ?? '-',
        rung.reason ?? '',
      ]),
    ),
  );
  print();
  const sound = models.filter(({ usable }) => usable).map((each) => each.model);
  print(
    table(
      ['check', 'state', ''],
      [
        [
          'models',
          sound.length === models.length ? 'ok' : 'problem',
          `hashes and shapes right: ${sound.join(', ')}`,
        ],
        ...checks.map(({ name, state, detail }) => [name, state, detail]),
      ],
    ),
  );
  for (const problem of problems) print(`\nproblem: ${problem}`);
}

function printTarget({ target, serving, engine, engines, models, problems }: TargetReport): void {
  print(`${target}: ${serving ? 'SERVING' : 'not serving'}, engine ${engine ?? 'none'}`);
  const states = engines.map(({ name, state }) => [name, state]);
  if (states.length > 0) print(`\n${table(['engine', 'state'], states)}`);
  if (models !== null) print(`\nmodels: ${models.join(', ')}`);
  for (const problem of problems) print(`\nproblem: ${problem}`);
}
