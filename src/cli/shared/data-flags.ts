/** The options that `train`, `calibrate` and `evaluate` read their data by. */
import type { Command } from 'commander';
import { type Dataset, loadDataset } from '../../training/data/dataset.js';
import type { DataPurpose } from '../../training/data/layout.js';
import { dataReportLines } from '../../training/data/report.js';
import { createProgress, note, type Progress } from './output.js';

export interface DataFlags {
  readonly data: string;
  readonly normal: readonly string[];
  readonly patients?: string;
}

const DATA_HELP = `
Data: PNG or JPEG images, directly in the folder (all normal) or in class folders: normal/ (in any case; also good/, ok/,
healthy/, no_finding/) and one folder for each other class. train/, test/ and val/ may hold them, as in the Kaggle and MVTec
sets. Whatever else is found is refused: --normal says which folders are normal. Hidden and system files, masks and
other formats are left out, and said.

Patients: a table patients.tsv or manifest.tsv (.csv too; columns path or file, and patient) in the folder or up to two
above it keeps a patient's images together. It must know every image; without one every image is its own patient.`;

/** @param data what --data is, for the help */
export function withDataFlags(command: Command, data: string): Command {
  return command
    .requiredOption('--data <dir>', data)
    .option(
      '--normal <folder>',
      'a folder of normal images in --data where its name does not say so, "." = all of them; may be given again',
      (folder: string, before: string[]) => [...before, folder.replace(/(?<=.)[/\\]+$/, '')],
      [] as string[],
    )
    .option(
      '--patients <file>',
      'table of patients; none = every image is its own patient (default: see below)',
    )
    .addHelpText('after', DATA_HELP);
}

/**
 * Reads the data and says on stderr what it was taken for.
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
