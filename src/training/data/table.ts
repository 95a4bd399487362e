/**
 * Reads the tables that belong to a data folder: `patients.tsv`, `manifest.tsv`, `boxes.tsv`. Accepts UTF-8 and UTF-16,
 * separation by tabs, commas, semicolons or bars, quoted cells, and every kind of line end.
 */
import { readFileSync, statSync } from 'node:fs';
import { SaladError, systemReason } from '../../errors/index.js';

/** The names that a column may have, the preferred one first; in lower case, without blanks and punctuation. */
export type ColumnNames = readonly string[];

export interface DataTable<Column extends string> {
  readonly file: string;
  /** Cells without surrounding blanks; a missing cell is empty. */
  readonly rows: readonly Readonly<Record<Column, string>>[];
}

const SEPARATORS = ['\t', ',', ';', '|'] as const;

function invalid(file: string, message: string, cause?: unknown): SaladError {
  return new SaladError('TRAINING_DATA_INVALID', `${file} ${message}`, cause === undefined ? {} : { cause });
}

/** Whether half of the bytes from `first` on are zero: detects UTF-16 of Latin letters without a byte-order mark. */
function isMostlyZero(bytes: Uint8Array, first: 0 | 1): boolean {
  const head = bytes.subarray(0, 512);
  let zeros = 0;
  for (let at = first; at < head.length; at += 2) if (head[at] === 0) zeros += 1;
  return zeros > head.length / 4;
}

function encodingOf(bytes: Uint8Array): 'utf-8' | 'utf-16le' | 'utf-16be' {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le';
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be';
  if (isMostlyZero(bytes, 1)) return 'utf-16le';
  return isMostlyZero(bytes, 0) ? 'utf-16be' : 'utf-8';
}

function readText(file: string): string {
  let bytes: Uint8Array;
  try {
    // Reading a FIFO would wait for a writer.
    if (!statSync(file).isFile()) throw new Error('it is not a regular file');
    bytes = readFileSync(file);
  } catch (error) {
    throw invalid(file, `cannot be read: ${systemReason(error)}`, error);
  }
  try {
    return new TextDecoder(encodingOf(bytes), { fatal: true }).decode(bytes);
  } catch (error) {
    throw invalid(file, 'is neither UTF-8 nor UTF-16 text: save it as UTF-8', error);
  }
}

/** Parses lines of cells as RFC 4180 defines them, with any separator. Only a quote at the start of a cell is special. */
function parseCells(text: string, separator: string, file: string): string[][] {
  const lines: string[][] = [];
  let line: string[] = [];
  let cell = '';
  let at = 0;
  const endLine = (): void => {
    line.push(cell.trim());
    if (line.some((each) => each !== '')) lines.push(line);
    line = [];
    cell = '';
  };
  while (at < text.length) {
    const character = text[at]!;
    if (character === '"' && cell.trim() === '') {
      const end = quotedEnd(text, at);
      if (end < 0) throw invalid(file, `has a quote without an end in line ${lines.length + 1}: close it`);
      cell = text.slice(at + 1, end).replaceAll('""', '"');
      at = end;
    } else if (character === separator) {
      line.push(cell.trim());
      cell = '';
    } else if (character === '\n' || character === '\r') endLine();
    else cell += character;
    at += 1;
  }
  endLine();
  return lines;
}

/** Index of the quote that ends the quoted cell starting at `from`; -1 where there is none. */
function quotedEnd(text: string, from: number): number {
  let end = text.indexOf('"', from + 1);
  while (end >= 0 && text[end + 1] === '"') end = text.indexOf('"', end + 2);
  return end;
}

function plainName(name: string): string {
  return name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '');
}

/** Index of every required column; undefined where one is missing. */
function columnIndices<Column extends string>(
  header: readonly string[],
  columns: Readonly<Record<Column, ColumnNames>>,
): Record<Column, number> | undefined {
  const names = header.map(plainName);
  const indices: Partial<Record<Column, number>> = {};
  for (const column of Object.keys(columns) as Column[]) {
    const found = columns[column].find((name) => names.includes(name));
    if (found === undefined) return undefined;
    indices[column] = names.indexOf(found);
  }
  return indices as Record<Column, number>;
}

function firstLine(text: string): string {
  return /^\s*([^\r\n]*)/.exec(text)?.[1] ?? '';
}

/**
 * Reads the given columns of a table, which may be in any order and among others.
 * @returns the table, or the first line of the file where a column is missing
 * @throws SaladError TRAINING_DATA_INVALID where the file is not text or a quote does not end
 */
export function readDataTable<Column extends string>(
  file: string,
  columns: Readonly<Record<Column, ColumnNames>>,
): { readonly table: DataTable<Column> } | { readonly header: string } {
  const text = readText(file);
  const header = firstLine(text);
  for (const separator of SEPARATORS) {
    const indices = columnIndices(parseCells(header, separator, file)[0] ?? [], columns);
    if (indices === undefined) continue;
    const [, ...lines] = parseCells(text, separator, file);
    const rows = lines.map(
      (cells) =>
        Object.fromEntries(
          Object.entries<number>(indices).map(([column, index]) => [column, cells[index] ?? '']),
        ) as Record<Column, string>,
    );
    return { table: { file, rows } };
  }
  return { header };
}
