/** Parsers of flag values that several commands share. Commander turns the error of a parser into exit code 2. */
import { InvalidArgumentError, Option } from 'commander';
import { ENGINE_NAMES, type EngineName } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';

const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** Longest delay that a Node timer accepts, in ms (24.8 days). */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Largest seed of training and calibration. */
export const MAX_TRAINING_SEED = 2 ** 32 - 1;

/** Largest version number of a model. */
export const MAX_VERSION = 1_000_000;

/** Returns a parser of a whole number from `low` to `high`, both included. */
export function wholeNumber(low: number, high: number): (text: string) => number {
  return parserOf(
    `It must be a whole number from ${low} to ${high}.`,
    (value) => Number.isInteger(value) && value >= low && value <= high,
  );
}

/** Returns a parser of a number from `low` to `high`, both included. */
export function numberFrom(low: number, high: number): (text: string) => number {
  return parserOf(`It must be a number from ${low} to ${high}.`, (value) => value >= low && value <= high);
}

/** Returns a parser of a number above `low` and below `high`. */
export function numberBetween(low: number, high: number): (text: string) => number {
  return parserOf(
    `It must be a number above ${low} and below ${high}.`,
    (value) => value > low && value < high,
  );
}

/** @returns a parser that throws InvalidArgumentError with `rule` */
function parserOf(rule: string, isAllowed: (value: number) => boolean): (text: string) => number {
  return (text) => {
    const value = DECIMAL.test(text) ? Number(text) : Number.NaN;
    if (!isAllowed(value)) throw new InvalidArgumentError(rule);
    return value;
  };
}

/** The option `--engine`; a wrong name is refused before any work. Undefined leaves the choice to the configuration. */
export function engineOption(description: string): Option {
  return new Option('--engine <name>', description)
    .choices(['auto', ...ENGINE_NAMES])
    .default(undefined, 'auto');
}

/**
 * The engine of `train`, `calibrate` and `evaluate`. `auto` selects the native CPU engine (onnx), so that the same
 * command gives the same bytes on every machine.
 * @throws SaladError CONFIGURATION_INVALID for an unknown name
 */
export function offlineEngineOf(text: string): EngineName {
  if (text === 'auto') return 'onnx';
  const name = ENGINE_NAMES.find((each) => each === text);
  if (name) return name;
  throw new SaladError(
    'CONFIGURATION_INVALID',
    `--engine must be auto or one of ${ENGINE_NAMES.join(', ')}, not "${text}"`,
  );
}

/** Quotes a word for a POSIX shell where needed. */
export function quoteForShell(word: string): string {
  return /^[\w./:@=+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
