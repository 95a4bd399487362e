/** Layout of help texts: at most 80 columns, required options are marked, every example is a command to copy. */
import type { Command, HelpConfiguration, Option, OutputConfiguration } from 'commander';
import { shippedModels } from '../../util/package-root.js';
import { wrapWords } from './output.js';

export const HELP_CONFIGURATION: HelpConfiguration = {
  optionDescription(option) {
    const facts = [
      ...(option.argChoices ? [`one of ${option.argChoices.join(', ')}`] : []),
      ...defaultOf(option),
      ...(option.mandatory ? ['required'] : []),
    ];
    return facts.length === 0 ? option.description : `${option.description} (${facts.join('; ')})`;
  },
  subcommandTerm(command: Command) {
    const names = command.registeredArguments.map((argument) =>
      argument.variadic ? `<${argument.name()}...>` : `<${argument.name()}>`,
    );
    return [command.name(), ...names].join(' ');
  },
};

/** The default as text. Empty for a flag without a value, and for a default that the description already states. */
function defaultOf(option: Option): readonly string[] {
  const { defaultValue, defaultValueDescription: described } = option;
  const takesValue = option.required || option.optional;
  const isEmpty = defaultValue === undefined || (Array.isArray(defaultValue) && defaultValue.length === 0);
  if (!takesValue || (isEmpty && described === undefined)) return [];
  // The path of this installation would be wrong on every other machine.
  const value = defaultValue === shippedModels() ? 'the shipped models' : String(defaultValue);
  return [`default: ${described ?? value}`];
}

/** A command line and its purpose. */
export type Example = readonly [command: string, purpose: string];

/** Text for `addHelpText('after', ...)`: notes as paragraphs, then the examples. */
export function helpText(notes: readonly string[], examples: readonly Example[]): string {
  const lines = examples.flatMap(([command, purpose]) => [`  # ${purpose}`, `  ${command}`]);
  return `\n${[...notes, ['Examples:', ...lines].join('\n')].join('\n\n')}`;
}

const DEFAULT_COLUMNS = 80;
/** If the second column of a line starts after this column, its text moves to lines of its own. */
const MAX_SECOND_COLUMN_START = 48;
const OWN_LINE_INDENT = 6;

/** Commander wraps its own texts; the texts that this project adds must fit into the terminal too. */
export const HELP_OUTPUT: OutputConfiguration = {
  writeOut: (text) => process.stdout.write(wrapHelp(text, process.stdout.columns)),
  writeErr: (text) => process.stderr.write(wrapHelp(text, process.stderr.columns)),
  // Errors stay on one line, so that a search finds them.
  outputError: (text) => process.stderr.write(text),
};

/**
 * Breaks lines at spaces so that they fit. A paragraph with a line that is too long is wrapped again as a whole; a
 * line with two columns keeps its two columns.
 */
export function wrapHelp(text: string, columns = DEFAULT_COLUMNS): string {
  return text
    .replace(/^\S.*(?:\n\S.*)*$/gm, (paragraph) => {
      const fits = paragraph.split('\n').every((line) => line.length <= columns);
      return fits ? paragraph : wrapIndented(paragraph.replaceAll('\n', ' '), 0, 0, columns);
    })
    .split('\n')
    .map((line) => (line.length <= columns ? line : wrapLine(line, columns)))
    .join('\n');
}

function wrapLine(line: string, columns: number): string {
  const indent = line.length - line.trimStart().length;
  const [first = '', second] = line.trim().split(/\s{2,}(?=\S+(?: \S+)*$)/);
  if (second === undefined) return wrapIndented(first, indent, indent, columns);
  const start = line.length - second.length;
  if (start <= MAX_SECOND_COLUMN_START)
    return `${line.slice(0, start)}${wrapIndented(second, start, 0, columns)}`;
  return `${line.slice(0, indent)}${first}\n${wrapIndented(second, OWN_LINE_INDENT, OWN_LINE_INDENT, columns)}`;
}

/** Wraps text into lines that start at column `indent`; the first line gets `firstIndent` spaces before it. */
function wrapIndented(text: string, indent: number, firstIndent: number, columns: number): string {
  const lines = wrapWords(text, columns - indent);
  return `${' '.repeat(firstIndent)}${lines.join(`\n${' '.repeat(indent)}`)}`;
}
