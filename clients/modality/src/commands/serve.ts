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
    .summary('receive DICOM instances and keep them until SIGTERM or SIGINT')
    .description(
      'Receives DICOM instances by C-STORE and keeps them in the inbox. An instance is acknowledged when its file, its ' +
        'folder and the index are on the disk. This version does not send instances to a server yet: they stay ' +
        'received.',
    )
    .requiredOption('--config <file>', 'YAML file with the settings')
    .option('--json', 'print the ready line as one JSON object')
    .addHelpText(
      'after',
      helpText(
        ['The first signal lets transfers finish; a second one exits at once. The log is on stderr.'],
        [['salad-modality serve --config gateway.yaml', 'receive as gateway.yaml says']],
      ),
    )
    .action(serve);
}

async function serve(flags: { readonly config: string; readonly json?: boolean }): Promise<void> {
  const settings = await readSettings(flags.config);
  const gateway = await startGateway(settings, createLog(settings));
  const stopped = stopOnSignal(() => gateway.stop());
  const address = `${settings.dicom.listen.slice(0, settings.dicom.listen.lastIndexOf(':'))}:${gateway.dicomPort}`;
  if (flags.json) printJson({ event: 'ready', dicom: address, aeTitle: settings.dicom.aeTitle });
  else print(`salad-modality receives DICOM as ${settings.dicom.aeTitle} on ${address}`);
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
