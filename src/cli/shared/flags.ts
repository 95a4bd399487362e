/** Values of flags that several verbs share: parsers for commander, which turns what they throw into exit code 2. */
import { InvalidArgumentError, Option } from 'commander';
import { ENGINE_NAMES, type EngineName } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';

const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** Longest time a timer of Node takes, in ms (24.8 days). */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Largest seed of training and calibration. */
export const MAX_TRAINING_SEED = 2 ** 32 - 1;

/** Largest version of a model. */
export const MAX_VERSION = 1_000_000;

/** Parser of a whole number from `low` to `high`, both included. */
export function wholeNumber(low: number, high: number): (text: string) => number {
  return parserOf(
    `It must be a whole number from ${low} to ${high}.`,
    (value) => Number.isInteger(value) && value >= low && value <= high,
  );
}

/** Parser of a number from `low` to `high`, both included. */
export function numberFrom(low: number, high: number): (text: string) => number {
  return parserOf(`It must be a number from ${low} to ${high}.`, (value) => value >= low && value <= high);
}

/** Parser of a number above `low` and below `high`. */
export function numberBetween(low: number, high: number): (text: string) => number {
  return parserOf(
    `It must be a number above ${low} and below ${high}.`,
    (value) => value > low && value < high,
  );
}

/** @returns a parser that throws InvalidArgumentError with `rule` */
function parserOf(rule: string, holds: (value: number) => boolean): (text: string) => number {
  return (text) => {
    const value = DECIMAL.test(text) ? Number(text) : Number.NaN;
    if (!holds(value)) throw new InvalidArgumentError(rule);
    return value;
  };
}

/** `--engine`, where a wrong name is refused before anything starts; undefined leaves it to the configuration. */
export function engineOption(description: string): Option {
  return new Option('--engine <name>', description)
    .choices(['auto', ...ENGINE_NAMES])
    .default(undefined, 'auto');
}

/** `auto` is the native CPU engine for training, so that the same command gives the same bytes everywhere. */
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
