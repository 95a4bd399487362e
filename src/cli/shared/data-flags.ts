/** Options of `train`, `calibrate` and `evaluate` that select their data, and the reader of that data. */
import { type Command, Option } from 'commander';
import { type Dataset, loadDataset, NO_PATIENTS } from '../../training/data/dataset.js';
import type { DataPurpose } from '../../training/data/layout.js';
import { dataReportLines } from '../../training/data/report.js';
import { quoteForShell } from './flags.js';
import { requireInput } from './input-paths.js';
import { createProgress, note, type Progress } from './output.js';

export interface DataFlags {
  readonly data: string;
  readonly normal: readonly string[];
  readonly patients?: string;
}

const DATA_HELP = `
Data: PNG, JPEG or DICOM images, either directly in the folder (then all of
them are normal) or in class folders: normal/ (upper or lower case; also good/,
ok/, healthy/, no_finding/) and one folder for each other class. The class folders
may be inside train/, test/ and val/, as in the Kaggle and MVTec data sets.
Other layouts are refused; --normal then names the folders of normal images.
Hidden files, system files, masks and other formats are left out and reported.

Patients: a table patients.tsv or manifest.tsv (or .csv; columns "path" or
"file", and "patient") in the folder, or in one of the two folders above it,
keeps the images of a patient together. The table must list every image.
Without a table the patient of a DICOM file is the one that the file names, and
every other image counts as its own patient.`;

/** @param dataDescription what `--data` is, for the help text */
export function withDataFlags(command: Command, dataDescription: string): Command {
  return command
    .requiredOption('--data <dir>', dataDescription)
    .addOption(
      new Option('--normal <folder>', 'folder of normal images inside --data; "." means all; repeatable')
        .argParser<string[]>((folder, earlier) => [...earlier, folder.replace(/(?<=.)[/\\]+$/, '')])
        .default([], 'by folder name, see below'),
    )
    .option(
      '--patients <file>',
      'table of patients; "none": every image is its own patient (default: see below)',
    )
    .addHelpText('after', DATA_HELP);
}

/** The options that decide which images are normal and which patient they belong to, for the command in a model card. */
export function dataArguments({ normal, patients }: DataFlags): readonly string[] {
  return [
    ...normal.flatMap((folder) => ['--normal', quoteForShell(folder)]),
    ...(patients === undefined ? [] : ['--patients', quoteForShell(patients)]),
  ];
}

/**
 * Reads the data, and prints on stderr which images were used, as what, and which were left out.
 * @throws SaladError CONFIGURATION_INVALID where a path is not there; TRAINING_DATA_INVALID, CANCELLED
 */
export async function readData(
  { data, normal, patients }: DataFlags,
  purpose: DataPurpose,
  signal: AbortSignal,
): Promise<Dataset> {
  await requireInput('--data ', data, 'folder');
  if (patients !== undefined && patients !== NO_PATIENTS) await requireInput('--patients ', patients, 'file');
  let progress: Progress | undefined;
  try {
    const dataset = await loadDataset(data, {
      purpose,
      normal,
      patients,
      signal,
      onProgress: (done, total) => {
        progress ??= createProgress('reading data', total);
        progress.update(done);
      },
    });
    progress?.stop();
    dataReportLines(dataset.report).forEach(note);
    return dataset;
  } finally {
    progress?.stop();
  }
}
