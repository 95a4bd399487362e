/** `salad dicom info`: shows how a DICOM file would be scored, or why it cannot be. */
import type { Command } from 'commander';
import { helpText } from '../../shared/help.js';
import { runInterruptible } from '../../shared/interrupt.js';
import { EXIT, print, printable, printJson } from '../../shared/output.js';
import { infoJson, inspectDicom } from './info.js';
import { dicomText } from './text.js';

interface InfoFlags {
  readonly json?: boolean;
  readonly identify?: boolean;
}

export function registerDicom(program: Command): void {
  const command = program
    .command('dicom')
    .summary('inspect DICOM files')
    .description('Inspects DICOM files.')
    .addHelpText('after', helpText([], [['salad dicom info chest.dcm', 'show how a file would be scored']]));
  command
    .command('info')
    .summary('show how a DICOM file would be scored, or why it cannot be')
    .description(
      'Reads a DICOM file as salad score and the server do, and decodes all frames. Shows how it would be scored ' +
        '(transfer syntax, window, look-up tables, orientation), or why it cannot be. Prints no patient data.',
    )
    .argument('<file>', 'a DICOM file with any name')
    .option('--json', 'print one JSON object')
    .option('--identify', 'also print the SOP Instance UID')
    .addHelpText(
      'after',
      helpText(
        ['Exit codes: 0 it can be scored, 1 it cannot, 2 wrong usage.'],
        [
          ['salad dicom info chest.dcm', 'print human-readable text'],
          ['salad dicom info chest.dcm --json | jq .reasons', 'print the reasons for a program'],
        ],
      ),
    )
    .action((file: string, flags: InfoFlags) => runInterruptible((signal) => info(file, flags, signal)));
}

async function info(path: string, flags: InfoFlags, signal: AbortSignal): Promise<void> {
  const found = await inspectDicom(path, signal);
  if (!found.scorable) process.exitCode = EXIT.failure;
  if (flags.json) printJson(infoJson(found, flags.identify === true));
  else print(printable(path).concat(dicomText(infoJson(found, flags.identify === true))));
}
