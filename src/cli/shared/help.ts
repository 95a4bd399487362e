/** How help is laid out: at most 80 columns, required options marked, every example a command to copy. */
import { type Command, Help, type HelpConfiguration, type Option } from 'commander';

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
  return [`default: ${described ?? String(defaultValue)}`];
}

/** A command line, and what it does. */
export type Example = readonly [command: string, does: string];

const COLUMNS = 80;

/**
 * Text for `addHelpText('after', ...)`: the notes as paragraphs of 80 columns, then the examples.
 */
export function helpText(notes: readonly string[], examples: readonly Example[]): string {
  const help = new Help();
  const paragraphs = notes.map((note) => help.boxWrap(note, COLUMNS));
  const lines = examples.flatMap(([command, does]) => [`  # ${does}`, `  ${command}`]);
  return `\n${[...paragraphs, ['Examples:', ...lines].join('\n')].join('\n\n')}`;
}
