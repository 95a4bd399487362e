/** `salad-modality serve`. */
import type { Command } from 'commander';
import { helpText } from '../../../../src/cli/shared/help.js';
import { EXIT, print, printJson } from '../../../../src/cli/shared/output.js';
import { startGateway } from '../gateway/gateway.js';
import { createLog } from '../gateway/log.js';
import { readSettings } from '../gateway/settings.js';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

export function registerServe(program: Command): void {
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
        ['The first signal lets transfers finish; a second one exits at once. The log is on stderr.'],
        [['salad-modality serve --config gateway.yaml', 'receive and score as gateway.yaml says']],
      ),
    )
    .action(serve);
}

async function serve(flags: { readonly config: string; readonly json?: boolean }): Promise<void> {
  const settings = await readSettings(flags.config);
  const gateway = await startGateway(settings, createLog(settings));
  const stopped = stopOnSignal(() => gateway.stop());
  const { dicom, stow } = gateway;
  if (flags.json) printJson({ event: 'ready', dicom: dicom ?? null, stow: stow ?? null });
  else {
    const inputs = [
      ...(dicom === undefined ? [] : [`DICOM as ${settings.dicom?.aeTitle} on ${dicom}`]),
      ...(stow === undefined ? [] : [`STOW-RS on ${stow}`]),
      ...settings.watch.map(({ path }) => `files in ${path}`),
    ];
    print(`salad-modality receives ${inputs.join(', ')}`);
  }
  await stopped;
}

function stopOnSignal(stop: () => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    let isStopping = false;
    for (const signal of SIGNALS) {
      process.on(signal, () => {
        if (isStopping) process.exit(EXIT.interrupted);
        isStopping = true;
        stop().then(resolve, reject);
      });
    }
  });
}
