/** The options of `train`, `calibrate` and `evaluate` that say what their data is. */
import { type Command, Option } from 'commander';
import { type Dataset, loadDataset } from '../../training/data/dataset.js';
import type { DataPurpose } from '../../training/data/layout.js';
import { dataReportLines } from '../../training/data/report.js';
import { quoted } from './flags.js';
import { createProgress, note, type Progress } from './output.js';

export interface DataFlags {
  readonly data: string;
  readonly normal: readonly string[];
  readonly patients?: string;
}

const DATA_HELP = `
Data: PNG, JPEG or DICOM images, directly in the folder (all normal) or in
class folders: normal/ (in any case; also good/, ok/, healthy/, no_finding/)
and one folder for each other class. The class folders may lie in train/,
test/ and val/, as in the Kaggle and MVTec sets. Other layouts are refused;
--normal names the folders of normal images. Hidden and system files, masks
and other formats are left out and reported.

Patients: a table patients.tsv or manifest.tsv (.csv too; columns path or file,
and patient) in the folder or up to two above it keeps the images of a patient
together. It must list every image. Without it every image counts as its own
patient, but for DICOM files, which name theirs.`;

/** @param data what --data is, for the help */
export function withDataFlags(command: Command, data: string): Command {
  return command
    .requiredOption('--data <dir>', data)
    .addOption(
      new Option('--normal <folder>', 'a folder of normal images in --data, "." = all; may be given again')
        .argParser<string[]>((folder, before) => [...before, folder.replace(/(?<=.)[/\\]+$/, '')])
        .default([], 'by name, see below'),
    )
    .option(
      '--patients <file>',
      'table of patients; none = every image is its own patient (default: see below)',
    )
    .addHelpText('after', DATA_HELP);
}

/** The options that decide which images are normal and whose they are, for the command line in a model card. */
export function dataWords({ normal, patients }: DataFlags): readonly string[] {
  return [
    ...normal.flatMap((folder) => ['--normal', quoted(folder)]),
    ...(patients === undefined ? [] : ['--patients', quoted(patients)]),
  ];
}

/**
 * Reads the data, and reports on stderr how it was understood.
 * @throws SaladError TRAINING_DATA_INVALID, CANCELLED
 */
export async function readData(
  { data, normal, patients }: DataFlags,
  purpose: DataPurpose,
  signal: AbortSignal,
): Promise<Dataset> {
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
