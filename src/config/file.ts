/** A YAML file of settings, each with the line it stands on. */
import { readFile } from 'node:fs/promises';
import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { SaladError } from '../errors/index.js';

export interface FileSetting {
  readonly key: string;
  readonly value: unknown;
  /** FILE:LINE */
  readonly where: string;
}

/** @throws SaladError CONFIGURATION_INVALID for a file that cannot be read, is no YAML or no mapping */
export async function readConfigFile(file: string): Promise<readonly FileSetting[]> {
  const lines = new LineCounter();
  const document = parseDocument(await textOf(file), { lineCounter: lines, prettyErrors: false });
  const [error] = document.errors;
  if (error) throw invalid(`${file}:${lines.linePos(error.pos[0]).line}: ${error.message}`);
  const { contents } = document;
  if (contents === null || (isScalar(contents) && contents.value === null)) return [];
  if (!isMap(contents)) throw invalid(`${file}: must be a mapping of settings`);
  return contents.items.map(({ key, value }) => {
    const position = isScalar(key) ? key.range?.[0] : undefined;
    return {
      key: String(isScalar(key) ? key.value : key),
      value: isScalar(value) ? value.value : document.toJS()[String(key)],
      where: `${file}:${lines.linePos(position ?? 0).line}`,
    };
  });
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw invalid(`${file}: ${why}`, error);
  }
}

function invalid(message: string, cause?: unknown): SaladError {
  return new SaladError('CONFIGURATION_INVALID', message, { cause });
}
