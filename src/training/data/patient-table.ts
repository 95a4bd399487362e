/**
 * Finds and reads the table of patients of a data folder. The table must give the patient of every image: a patient on
 * two sides of a split would make every figure too good, and nothing would show it.
 */
import { readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { SaladError } from '../../errors/index.js';
import { type ColumnNames, readDataTable } from './table.js';

const COLUMNS: Readonly<Record<'path' | 'patient', ColumnNames>> = {
  path: ['path', 'file', 'filename', 'filepath', 'image', 'imagepath', 'imagename', 'imageindex', 'imageid'],
  patient: ['patient', 'patientid', 'subject', 'subjectid'],
};
const PATIENTS_FILE = /^patients\.(tsv|csv)$/i;
/** May describe something else: it is used only where it has both columns. */
const MANIFEST_FILE = /^manifest\.(tsv|csv)$/i;
/** A table of patients in a format that cannot be read. */
const UNREADABLE_PATIENTS_FILE = /^patients\.(txt|xlsx?|ods|json|numbers)$/i;
/** Folders that are searched: the data folder and those above it. */
const FOLDERS_SEARCHED = 3;

/** A row of the table: the path of an image, and its patient. */
export interface PatientRow {
  readonly path: string;
  readonly patient: string;
}

/** The view of every image of a table of patients that has a column `view` without empty cells. */
export function viewTable(table: PatientTable): PatientTable | null {
  const found = readDataTable(table.file, { path: COLUMNS.path, patient: ['view', 'viewposition'] });
  if (!('table' in found) || found.table.rows.some(({ patient }) => patient === '')) return null;
  return found.table;
}

export interface PatientTable {
  readonly file: string;
  readonly rows: readonly PatientRow[];
}

function invalid(message: string): SaladError {
  return new SaladError('TRAINING_DATA_INVALID', message);
}

/** Ends the errors about the table. */
export const NO_TABLE_HINT = '--patients none treats every image as its own patient';

function readPatientTable(file: string): PatientTable {
  const found = readDataTable(file, COLUMNS);
  if ('table' in found) return found.table;
  throw invalid(
    `${file} is no table of patients: its first line must name the columns path (or file) and patient, ` +
      `separated by tabs, commas, semicolons or bars; it is "${found.header.slice(0, 80)}"; ${NO_TABLE_HINT}`,
  );
}

/** File names in a folder, sorted; empty where the folder cannot be listed, which is allowed above the data folder. */
function fileNamesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

export interface PatientTableSearch {
  readonly table: PatientTable | null;
  /** Files with a matching name but without the columns. */
  readonly passedOver: readonly string[];
}

/**
 * Finds `patients.*`, or `manifest.*` where it has both columns, in the folder or up to two folders above it.
 * @throws SaladError TRAINING_DATA_INVALID for a `patients.*` without the columns or in another format, or two of them
 *   in one folder
 */
export function findPatientTable(directory: string): PatientTableSearch {
  const passedOver: string[] = [];
  let folder = directory;
  for (let level = 0; level < FOLDERS_SEARCHED; level += 1) {
    const names = fileNamesIn(folder);
    const pathsOf = (pattern: RegExp): string[] =>
      names.filter((name) => pattern.test(name)).map((name) => join(folder, name));
    const tables = pathsOf(PATIENTS_FILE);
    if (tables.length > 1) {
      throw invalid(`both ${tables.join(' and ')} could be the table of patients: name one with --patients`);
    }
    if (tables.length === 1) return { table: readPatientTable(tables[0]!), passedOver };
    const [unreadable] = pathsOf(UNREADABLE_PATIENTS_FILE);
    if (unreadable !== undefined) {
      throw invalid(
        `${unreadable} cannot be read as a table of patients: save it as patients.csv; ${NO_TABLE_HINT}`,
      );
    }
    for (const file of pathsOf(MANIFEST_FILE)) {
      const found = readDataTable(file, COLUMNS);
      if ('table' in found) return { table: found.table, passedOver };
      passedOver.push(file);
    }
    folder = dirname(folder);
  }
  return { table: null, passedOver };
}

/** Reads the table that the user named. @throws SaladError TRAINING_DATA_INVALID */
export function namedPatientTable(file: string): PatientTableSearch {
  return { table: readPatientTable(resolve(file)), passedOver: [] };
}
