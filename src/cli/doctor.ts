import { cpus, totalmem } from 'node:os';
import type { Command } from 'commander';
import { ENGINE_NAMES, type EngineName } from '../engines/engine.js';
import { ladder, type Rung } from '../engines/select.js';
import { SaladError } from '../errors/index.js';
import { type Bundle, readBundle } from '../model/bundle.js';
import { findBundle, listBundles } from '../model/repository.js';
import { EXIT, print, printJson, table } from './output.js';
import { shippedModels } from './paths.js';

interface DoctorFlags {
  readonly models: string;
  readonly model?: string;
  readonly engine: string;
  readonly json?: boolean;
}

export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .description('which engine would serve here, and why not a better one; which bundles are broken')
    .option('--models <dir>', 'folder of bundles', shippedModels())
    .option(
      '--model <name|dir>',
      'bundle whose golden batch proves the engines (default: the first sound one)',
    )
    .option('--engine <name>', `auto or ${ENGINE_NAMES.join(', ')}`, 'auto')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Every engine must reproduce the golden scores of a bundle before it may serve. Exit 1 where none can, or
where a bundle is broken.

Examples:
  salad doctor
  salad doctor --engine wasm --json
  salad doctor --models /srv/models --model chest-pediatric`,
    )
    .action(doctor);
}

function preferenceOf(name: string): EngineName | 'auto' {
  if (name === 'auto' || (ENGINE_NAMES as readonly string[]).includes(name))
    return name as EngineName | 'auto';
  throw new SaladError('CONFIGURATION_INVALID', `--engine ${name}: use auto, ${ENGINE_NAMES.join(', ')}`);
}

/** The bundle that tests the engines, and a sentence for every bundle that cannot be read. */
async function openBundles(flags: DoctorFlags): Promise<{ bundle: Bundle | undefined; problems: string[] }> {
  if (flags.model !== undefined) {
    return { bundle: await readBundle(await findBundle(flags.models, flags.model)), problems: [] };
  }
  const problems: string[] = [];
  let bundle: Bundle | undefined;
  const locations = await listBundles(flags.models);
  for (const { name, version, directory } of locations) {
    try {
      const read = await readBundle(directory);
      bundle ??= read;
    } catch (error) {
      problems.push(`${name}@${version}: ${SaladError.from(error).message}`);
    }
  }
  if (locations.length === 0) problems.push(`no bundles in ${flags.models}: engines are started, not proven`);
  return { bundle, problems };
}

async function doctor(flags: DoctorFlags): Promise<void> {
  const preference = preferenceOf(flags.engine);
  const { bundle, problems } = await openBundles(flags);
  const engines = await ladder(preference, bundle);
  const best = engines.find((rung) => rung.usable);
  if (best === undefined) problems.push('no engine is usable');
  if (problems.length > 0) process.exitCode = EXIT.failure;
  const model = bundle === undefined ? null : `${bundle.manifest.name}@${bundle.manifest.version}`;
  const processors = cpus();
  const machine = {
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    processor: processors[0]?.model.trim() ?? null,
    cores: processors.length,
    memoryBytes: totalmem(),
  };
  if (flags.json) printJson({ engine: best?.name ?? null, engines, problems, model, machine });
  else printForPeople(engines, problems, best?.name, model, machine);
}

function printForPeople(
  engines: readonly Rung[],
  problems: readonly string[],
  best: EngineName | undefined,
  model: string | null,
  machine: {
    readonly node: string;
    readonly platform: string;
    readonly processor: string | null;
    readonly cores: number;
  },
): void {
  print(
    `Node ${machine.node} on ${machine.platform}, ${machine.cores} cores, ${machine.processor ?? 'unknown processor'}`,
  );
  print(model === null ? 'No bundle to prove the engines with.' : `Engines proven with ${model}:`);
  print();
  print(
    table(
      ['engine', 'usable', 'device', 'largest score error', 'reason'],
      engines.map((rung) => [
        rung.name === best ? `${rung.name} (serves)` : rung.name,
        rung.usable ? 'yes' : 'no',
        rung.device ?? '-',
        rung.maxAbsScoreError?.toExponential(1) ?? '-',
        rung.reason ?? '',
      ]),
    ),
  );
  for (const problem of problems) print(`\nproblem: ${problem}`);
}
