/** Reads a YAML file of settings, and the line of each setting. */
import { readFile } from 'node:fs/promises';
import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { SaladError, systemReason } from '../errors/index.js';

export interface FileSetting {
  readonly key: string;
  readonly value: unknown;
  /** FILE:LINE */
  readonly where: string;
}

/** @throws SaladError CONFIGURATION_INVALID if the file cannot be read, is not YAML or is not a mapping */
export async function readConfigFile(file: string): Promise<readonly FileSetting[]> {
  const lines = new LineCounter();
  const document = parseDocument(await readText(file), { lineCounter: lines, prettyErrors: false });
  const [error] = document.errors;
  if (error) throw invalidFile(`${file}:${lines.linePos(error.pos[0]).line}: ${error.message}`);
  const { contents } = document;
  if (contents === null || (isScalar(contents) && contents.value === null)) return [];
  if (!isMap(contents)) throw invalidFile(`${file}: the file must be a mapping of settings, as KEY: VALUE`);
  return contents.items.map(({ key, value }) => {
    const position = isScalar(key) ? key.range?.[0] : undefined;
    return {
      key: String(isScalar(key) ? key.value : key),
      value: isScalar(value) ? value.value : document.toJS()[String(key)],
      where: `${file}:${lines.linePos(position ?? 0).line}`,
    };
  });
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw invalidFile(`${file} cannot be read: ${systemReason(error)}`, error);
  }
}

function invalidFile(message: string, cause?: unknown): SaladError {
  return new SaladError('CONFIGURATION_INVALID', message, { cause });
}
