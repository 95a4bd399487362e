/**
 * A test set in two parts, by patient: settings are chosen on `choose` (a third) and reported on `report` (two thirds),
 * which stays an honest test as long as it is opened rarely. So every opening is written down.
 */
import { appendFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { SaladError } from '../../errors/index.js';
import { hashFraction } from '../../util/hash-random.js';
import { type Dataset, type DatasetImage, knowsPatients } from '../data/dataset.js';

export const TEST_HALVES = ['choose', 'report', 'all'] as const;
export type TestHalf = (typeof TEST_HALVES)[number];

const CHOOSE_SHARE = 1 / 3;
/** Fixed for good: another seed would mix the two parts of sets that have been reported on. */
const SPLIT_SEED = 20261129;

/** Without a table of patients the pixels stand for the patient, so that renamed files stay in their part. */
function keyOf({ patient, pixelHash }: DatasetImage, hasPatients: boolean): string {
  return hasPatients ? patient : `pixels:${pixelHash}`;
}

/** The images of one part. */
export function halfOf(dataset: Dataset, half: TestHalf): Dataset {
  if (half === 'all') return dataset;
  const hasPatients = knowsPatients(dataset);
  const images = dataset.images.filter(
    (image) => hashFraction(keyOf(image, hasPatients), SPLIT_SEED) < CHOOSE_SHARE === (half === 'choose'),
  );
  return { ...dataset, images };
}

/** Where openings are written unless another file is named: beside the data folder. */
export function openingsFile(directory: string): string {
  return `${resolve(directory)}.openings.jsonl`;
}

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
 * Writes down that the part of a test set that is reported on is looked at, before it is.
 * @throws SaladError CONFIGURATION_INVALID where that cannot be written
 */
export async function logOpening(file: string, opening: Opening): Promise<void> {
  try {
    await appendFile(file, `${JSON.stringify(opening)}\n`);
  } catch (error) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `the opening of part ${opening.half} cannot be written to ${file}: ${(error as Error).message}; name a file with --half-log`,
      { cause: error },
    );
  }
}
