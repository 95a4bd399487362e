/** How help is laid out: at most 80 columns, required options marked, every example a command to copy. */
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

/** A description alone tells a default that the code behind the option takes. */
function defaultOf(option: Option): readonly string[] {
  const { defaultValue, defaultValueDescription: described } = option;
  const takesValue = option.required || option.optional;
  const isEmpty = defaultValue === undefined || (Array.isArray(defaultValue) && defaultValue.length === 0);
  if (!takesValue || (isEmpty && described === undefined)) return [];
  // The path of an installation is of no use in a text that people copy.
  const value = defaultValue === shippedModels() ? 'the shipped ones' : String(defaultValue);
  return [`default: ${described ?? value}`];
}

/** A command line, and what it does. */
export type Example = readonly [command: string, does: string];

/** Text for `addHelpText('after', ...)`: notes as paragraphs, then the examples. */
export function helpText(notes: readonly string[], examples: readonly Example[]): string {
  const lines = examples.flatMap(([command, does]) => [`  # ${does}`, `  ${command}`]);
  return `\n${[...notes, ['Examples:', ...lines].join('\n')].join('\n\n')}`;
}

const DEFAULT_COLUMNS = 80;
/** Where the second column of a line begins later, its text goes below. */
const LATEST_COLUMN = 48;
const OWN_LINE_INDENT = 6;

/** Commander lays out its own texts; what is added to them must fit into the terminal too. */
export const HELP_OUTPUT: OutputConfiguration = {
  writeOut: (text) => process.stdout.write(fitted(text, process.stdout.columns)),
  writeErr: (text) => process.stderr.write(fitted(text, process.stderr.columns)),
  // Errors stay on one line, for those who search for them.
  outputError: (text) => process.stderr.write(text),
};

/**
 * Breaks lines at spaces so that they fit. A paragraph with a line that does not is laid out anew; what stands in two
 * columns stays in two.
 */
export function fitted(text: string, columns = DEFAULT_COLUMNS): string {
  return text
    .replace(/^\S.*(?:\n\S.*)*$/gm, (paragraph) => {
      const fits = paragraph.split('\n').every((line) => line.length <= columns);
      return fits ? paragraph : hanging(paragraph.replaceAll('\n', ' '), 0, 0, columns);
    })
    .split('\n')
    .map((line) => (line.length <= columns ? line : broken(line, columns)))
    .join('\n');
}

function broken(line: string, columns: number): string {
  const indent = line.length - line.trimStart().length;
  const [first = '', second] = line.trim().split(/\s{2,}(?=\S+(?: \S+)*$)/);
  if (second === undefined) return hanging(first, indent, indent, columns);
  const start = line.length - second.length;
  if (start <= LATEST_COLUMN) return `${line.slice(0, start)}${hanging(second, start, 0, columns)}`;
  return `${line.slice(0, indent)}${first}\n${hanging(second, OWN_LINE_INDENT, OWN_LINE_INDENT, columns)}`;
}

/** Lines that begin at column `indent`, the first one after `firstIndent` spaces. */
function hanging(text: string, indent: number, firstIndent: number, columns: number): string {
  const lines = wrapWords(text, columns - indent);
  return `${' '.repeat(firstIndent)}${lines.join(`\n${' '.repeat(indent)}`)}`;
}
