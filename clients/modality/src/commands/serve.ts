/** `salad-modality serve`. */
import type { Command } from 'commander';
import type { ProgramContext } from '../../../../src/cli/shared/context.js';
import { helpText } from '../../../../src/cli/shared/help.js';
import { EXIT, note, print, printJson } from '../../../../src/cli/shared/output.js';
import { type Gateway, startGateway } from '../gateway/gateway.js';
import { createLog } from '../gateway/log.js';
import { readSettings } from '../gateway/settings.js';
import { onStop } from './signals.js';

/** Longer than the inputs may take to end (30 s), with time for the rest. */
const STOP_MS = 45_000;

export function registerServe(program: Command, context: ProgramContext): void {
  program
    .command('serve')
    .summary('receive DICOM instances and score them until SIGTERM or SIGINT')
    .description(
      'Receives DICOM instances by C-STORE, STOW-RS and from watched folders, keeps them in the inbox, and scores them ' +
        'with salad-serve servers. An instance is acknowledged when its file, its folder and the index are on the ' +
        'disk. Every result goes to the destinations as a structured report, by STOW-RS or C-STORE; without destinations it ' +
        'stays in the inbox, for show and export.',
    )
    .requiredOption('--config <file>', 'YAML file with the settings')
    .option('--json', 'print the ready line as one JSON object')
    .addHelpText(
      'after',
      helpText(
        [
          'The first SIGTERM or SIGINT lets transfers finish, for 30 s at most; a second one exits at once. The log is on ' +
            'stderr.',
          'Probes and metrics for Prometheus: the section operations of the settings. Traces and metrics over OTLP: the ' +
            'standard OTEL_ variables.',
        ],
        [['salad-modality serve --config gateway.yaml', 'receive and score as gateway.yaml says']],
      ),
    )
    .action((flags: ServeFlags) => serve(flags, context));
}

interface ServeFlags {
  readonly config: string;
  readonly json?: boolean;
}

async function serve(flags: ServeFlags, { environment }: ProgramContext): Promise<void> {
  const settings = await readSettings(flags.config);
  const gateway = await startGateway(settings, createLog(settings), environment);
  const stopped = stopOnSignal(gateway);
  const { dicom, stow, operations } = gateway;
  if (flags.json) {
    const ports = { dicom: dicom ?? null, stow: stow ?? null, operations: operations ?? null };
    printJson({ event: 'ready', ...ports });
  } else {
    const inputs = [
      ...(dicom === undefined ? [] : [`DICOM as ${settings.dicom?.aeTitle} on ${dicom}`]),
      ...(stow === undefined ? [] : [`STOW-RS on ${stow}`]),
      ...settings.watch.map(({ path }) => `files in ${path}`),
    ];
    print(`salad-modality receives ${inputs.join(', ')}`);
  }
  await stopped;
}

function stopOnSignal(gateway: Gateway): Promise<void> {
  return new Promise((resolve, reject) => {
    onStop(() => {
      setTimeout(() => {
        note('salad: the gateway did not stop in time');
        process.exit(EXIT.failure);
      }, STOP_MS).unref();
      gateway.stop().then(resolve, reject);
    });
  });
}
