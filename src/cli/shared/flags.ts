/** Values of flags that several verbs share. */
import { ENGINE_NAMES, type EngineName } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';

/** @throws SaladError CONFIGURATION_INVALID */
export function numberOf(flag: string, text: string, low: number, high: number, whole = true): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= low && value <= high && (!whole || Number.isInteger(value)))
    return value;
  const kind = whole ? 'a whole number' : 'a number';
  throw new SaladError(
    'CONFIGURATION_INVALID',
    `${flag} must be ${kind} from ${low} to ${high}, not "${text}"`,
  );
}

/** `auto` is the native CPU engine: training needs no ladder, and the same engine everywhere keeps bytes equal. */
export function engineOf(text: string): EngineName {
  if (text === 'auto') return 'onnx';
  const name = ENGINE_NAMES.find((each) => each === text);
  if (name) return name;
  throw new SaladError(
    'CONFIGURATION_INVALID',
    `--engine must be auto or one of ${ENGINE_NAMES.join(', ')}, not "${text}"`,
  );
}

/** A word of a command line as a shell wants it. */
export function quoted(word: string): string {
  return /^[\w./:@=+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
