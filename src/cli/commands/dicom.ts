/** `salad dicom info`: what would be scored of a DICOM file, and why not. */
import type { Command } from 'commander';
import { helpText } from '../shared/help.js';
import { runInterruptible } from '../shared/interrupt.js';
import { EXIT, print, printable, printJson } from '../shared/output.js';
import { infoJson, inspectDicom } from './dicom-info.js';
import { dicomText } from './dicom-text.js';

interface InfoFlags {
  readonly json?: boolean;
  readonly identify?: boolean;
}

export function registerDicom(program: Command): void {
  const command = program
    .command('dicom')
    .summary('look into DICOM files')
    .description('Looks into DICOM files.')
    .addHelpText(
      'after',
      helpText([], [['salad dicom info chest.dcm', 'what would be scored, and why not']]),
    );
  command
    .command('info')
    .summary('what would be scored of a DICOM file, and why not')
    .description(
      'Reads a DICOM file as salad score and the server do: says what would be scored (syntax, window, look-up tables, ' +
        'orientation) and why not. All frames are decoded. Nothing that names a patient is printed.',
    )
    .argument('<file>', 'a DICOM file, whatever its name')
    .option('--json', 'print one JSON object')
    .option('--identify', 'print the SOP Instance UID too')
    .addHelpText(
      'after',
      helpText(
        ['Exit codes: 0 it can be scored, 1 it cannot, 2 wrong usage.'],
        [
          ['salad dicom info chest.dcm', 'for people'],
          ['salad dicom info chest.dcm --json | jq .reasons', 'why it is not scored'],
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
