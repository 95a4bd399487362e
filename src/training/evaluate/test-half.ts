/**
 * Splits a test set by patient: settings are chosen on `choose` (a third of it), results are reported on `report` (two
 * thirds). `report` is a valid test only if it is used rarely, so every use of it is logged.
 */
import { createHash } from 'node:crypto';
import { appendFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { SaladError, systemReason } from '../../errors/index.js';
import { type Dataset, type DatasetImage, knowsPatients } from '../data/dataset.js';

export const TEST_HALVES = ['choose', 'report', 'all'] as const;
export type TestHalf = (typeof TEST_HALVES)[number];

/**
 * Whether a key belongs to `choose`: the first 32 bits of its SHA-256 are a multiple of 3. Must not change: another rule
 * would mix `choose` and `report` of data sets with published results.
 */
function isChoose(key: string): boolean {
  return createHash('sha256').update(key).digest().readUInt32BE(0) % 3 === 0;
}

/** Patient of an image; without a table of patients its pixel hash, so that a renamed file stays in its half. */
function splitKeyOf({ patient, pixelHash }: DatasetImage, hasPatients: boolean): string {
  return hasPatients ? patient : `pixels:${pixelHash}`;
}

/** The data set with the images of one half only. */
export function halfOf(dataset: Dataset, half: TestHalf): Dataset {
  if (half === 'all') return dataset;
  const hasPatients = knowsPatients(dataset);
  const images = dataset.images.filter(
    (image) => isChoose(splitKeyOf(image, hasPatients)) === (half === 'choose'),
  );
  return { ...dataset, images };
}

/** The default log file, beside the data folder. */
export function openingsFile(directory: string): string {
  return `${resolve(directory)}.openings.jsonl`;
}

/** One use of the `report` half: a line of the log. */
export interface Opening {
  /** ISO 8601. */
  readonly time: string;
  readonly half: TestHalf;
  readonly data: string;
  readonly images: number;
  readonly model: string;
  readonly modelSha256: string;
  readonly precision: string;
  readonly saladServe: string;
}

/**
 * Logs that the `report` half is used; to be called before the evaluation.
 * @throws SaladError CONFIGURATION_INVALID where the log cannot be written
 */
export async function logOpening(file: string, opening: Opening): Promise<void> {
  try {
    await appendFile(file, `${JSON.stringify(opening)}\n`);
  } catch (error) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `the use of the half ${opening.half} cannot be written to ${file}: ${systemReason(error)}; name a file with --half-log`,
      { cause: error },
    );
  }
}
