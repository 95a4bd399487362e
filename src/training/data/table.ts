/**
 * Tables beside the images: `patients.tsv`, `manifest.tsv`, `boxes.tsv`. UTF-8 or UTF-16, tabs, commas, semicolons or
 * bars, quoted cells, every kind of line end.
 */
import { readFileSync, statSync } from 'node:fs';
import { SaladError } from '../../errors/index.js';

/** A column by the names it goes by, the likeliest first, without case, blanks and punctuation. */
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

/** Zero bytes at even or at odd places: UTF-16 of mostly Latin letters, for files without a byte-order mark. */
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

function textOf(file: string): string {
  let bytes: Uint8Array;
  try {
    // Reading a FIFO would wait for a writer.
    if (!statSync(file).isFile()) throw new Error('it is no regular file');
    bytes = readFileSync(file);
  } catch (error) {
    throw invalid(file, `cannot be read: ${(error as Error).message}`, error);
  }
  try {
    return new TextDecoder(encodingOf(bytes), { fatal: true }).decode(bytes);
  } catch (error) {
    throw invalid(file, 'is neither UTF-8 nor UTF-16 text: save it as UTF-8', error);
  }
}

/** Lines of cells as RFC 4180 has them, with any separator. A quote counts at the beginning of a cell only. */
function cellsOf(text: string, separator: string, file: string): string[][] {
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
      if (end < 0) throw invalid(file, `has a quote without an end in line ${lines.length + 1}`);
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

/** Place of the quote that ends the quoted cell beginning at `from`; -1 where there is none. */
function quotedEnd(text: string, from: number): number {
  let end = text.indexOf('"', from + 1);
  while (end >= 0 && text[end + 1] === '"') end = text.indexOf('"', end + 2);
  return end;
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '');
}

/** Place of each wanted column, or undefined where one is missing. */
function placesOf<Column extends string>(
  header: readonly string[],
  columns: Readonly<Record<Column, ColumnNames>>,
): Record<Column, number> | undefined {
  const names = header.map(plain);
  const places: Partial<Record<Column, number>> = {};
  for (const column of Object.keys(columns) as Column[]) {
    const found = columns[column].find((name) => names.includes(name));
    if (found === undefined) return undefined;
    places[column] = names.indexOf(found);
  }
  return places as Record<Column, number>;
}

function firstLine(text: string): string {
  return /^\s*([^\r\n]*)/.exec(text)?.[1] ?? '';
}

/**
 * Reads a table by the names of its columns, in any order and with others between them.
 * @returns undefined where a column is missing: the header's line is in `missing`
 * @throws SaladError TRAINING_DATA_INVALID where the file is no text or a quote does not end
 */
export function readDataTable<Column extends string>(
  file: string,
  columns: Readonly<Record<Column, ColumnNames>>,
): { readonly table: DataTable<Column> } | { readonly header: string } {
  const text = textOf(file);
  const header = firstLine(text);
  for (const separator of SEPARATORS) {
    const places = placesOf(cellsOf(header, separator, file)[0] ?? [], columns);
    if (places === undefined) continue;
    const [, ...lines] = cellsOf(text, separator, file);
    const rows = lines.map(
      (cells) =>
        Object.fromEntries(
          Object.entries<number>(places).map(([column, place]) => [column, cells[place] ?? '']),
        ) as Record<Column, string>,
    );
    return { table: { file, rows } };
  }
  return { header };
}
