/** The GPU run: measures what a machine with a GPU gives, in a fixed time. See scripts/gpu/README.md. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { HELP_CONFIGURATION, HELP_OUTPUT, helpText } from '../../src/cli/shared/help.js';
import { note, print } from '../../src/cli/shared/output.js';
import { shippedModels } from '../../src/util/package-root.js';
import { curve } from './curve.js';
import { doctor, parity } from './engines.js';
import { failover } from './failover.js';
import { commit, describeMachine } from './machine.js';
import { peak } from './peak.js';
import { GpuRun, MINUTES, type Part } from './run.js';
import { serve } from './serve.js';
import { summaryOf } from './summary.js';
import { findVulkan } from './vulkan.js';

/** In the order of their worth: where the time is over, the last ones are missing. */
const PARTS: readonly Part[] = [doctor, peak, parity, curve, failover, serve];

interface Flags {
  readonly out: string;
  readonly models: string;
  readonly libraries?: string;
  readonly minutes: number;
  readonly startedAt?: number;
  readonly parts?: readonly string[];
  readonly quick?: boolean;
}

const numberAbove0 = (text: string): number => {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('a number above 0 is needed');
  return value;
};

const partNames = (text: string): readonly string[] => {
  const names = text.split(',');
  const unknown = names.find((name) => !PARTS.some((part) => part.name === name));
  if (unknown === undefined) return names;
  throw new InvalidArgumentError(`parts: ${PARTS.map(({ name }) => name).join(', ')}`);
};

const program = new Command('run.sh')
  .description(
    'Measures the engines and the server on a machine with a GPU, and writes everything into one folder.',
  )
  .configureHelp(HELP_CONFIGURATION)
  .configureOutput(HELP_OUTPUT)
  .option(
    '--out <dir>',
    'folder for results.json, summary.txt and log.txt',
    process.env['OUT'] ?? 'out/gpu/results',
  )
  .option('--models <dir>', 'folder of bundles (default: the shipped models)', shippedModels())
  .option(
    '--minutes <n>',
    'the run ends within this time, with what was measured until then',
    numberAbove0,
    MINUTES,
  )
  .option('--parts <names>', 'only these parts, separated by commas', partNames)
  .option('--quick', 'short measurements that show that everything works; the figures mean nothing')
  .option('--libraries <dir>', 'folder of libraries that are used where the machine has none')
  .option(
    '--started-at <s>',
    'start of the run in seconds since 1970, where it was not this program',
    numberAbove0,
  )
  .addHelpText(
    'after',
    helpText(
      [
        `Parts: ${PARTS.map(({ name, seconds }) => `${name} (at most ${seconds} s)`).join(', ')}.`,
        'Exits with 0 where every part is complete, with 1 where one is not; the results are written in any case.',
      ],
      [
        ['sh run.sh --out results', 'measure everything'],
        ['sh run.sh --out results --parts doctor,peak', 'only find the device and measure its peak'],
      ],
    ),
  )
  .action(measure);

async function measure(flags: Flags): Promise<void> {
  const startMs = flags.startedAt === undefined ? Date.now() : 1000 * flags.startedAt;
  const scratch = mkdtempSync(join(tmpdir(), 'salad-gpu-'));
  const { environment, facts } = findVulkan(flags.libraries, scratch, process.env);
  Object.assign(process.env, environment);
  const out = resolve(flags.out);
  const models = resolve(flags.models);
  const bundles = bundlesIn(models);
  const run = new GpuRun(out, startMs, flags.minutes, {
    commit: commit(),
    date: new Date(startMs).toISOString(),
    quick: flags.quick === true,
    machine: describeMachine(process.env),
    vulkan: facts,
    models,
  });
  const parts = PARTS.filter(({ name }) => flags.parts?.includes(name) ?? true);
  const context = {
    quick: flags.quick === true,
    models,
    bundles,
    log: (text: string) => run.log(text),
    resultsOf: (part: string) => run.resultsOf(part),
  };
  const report = await run.perform(parts, context);
  rmSync(scratch, { recursive: true, force: true });
  print(summaryOf(report));
  note(`gpu: wrote ${out}`);
  const isComplete = Object.values(report.parts).every(({ status }) => status === 'done');
  // A process or device that does not end must not keep this one.
  process.exit(isComplete ? 0 : 1);
}

/** NAME/VERSION of every bundle, in the order of their names. Ends the program where there is none. */
function bundlesIn(models: string): readonly string[] {
  const names = existsSync(models) ? readdirSync(models).sort() : [];
  const bundles = names.flatMap((name) =>
    readdirSync(join(models, name)).map((version) => `${name}/${version}`),
  );
  if (bundles.length > 0) return bundles;
  note(`gpu: there are no bundles in ${models}; name their folder with --models`);
  process.exit(2);
}

await program.parseAsync();
