/** Generates docs/reference/cli.md: the help text of every command of both programs. */
export async function cliPage() {
  const { createProgram } = await import('../../dist/src/cli/program.js');
  const gateway = await import('../../dist/clients/modality/src/program.js');
  const { wrapHelp } = await import('../../dist/src/cli/shared/help.js');
  const sections = [];
  const add = (command, name) => {
    sections.push(`## ${name}\n\n\`\`\`text\n${wrapHelp(helpOf(command), COLUMNS)}\n\`\`\``);
    for (const child of command.commands) {
      if (child.name() !== 'help') add(child, `${name} ${child.name()}`);
    }
  };
  add(await createProgram({ environment: {} }), 'salad');
  add(gateway.createProgram(), 'salad-modality');
  return `# Command line

Generated from \`src/cli/\` and \`clients/modality/\` by \`npm run docs\`. In a checkout run
\`npm run -s salad -- COMMAND …\` or \`npm run -s salad-modality -- COMMAND …\`; installed, \`salad COMMAND …\`.
Results are printed on standard output, progress and messages on standard error; \`--json\` prints one JSON object per
line.

| exit code | means | such as |
|---|---|---|
| 0 | success | every image was scored |
| 1 | the work failed | an image was not scored, or none; a server is unreachable or refuses; a check or objective does not hold |
| 2 | wrong usage or configuration | a flag, setting or key file; a file, folder or model that the command line names and that is not there; a folder without images |
| 130 | interrupted | Ctrl-C or SIGTERM; partial results are kept |

${sections.join('\n\n')}
`;
}

/** Width of the help texts in characters, the default width of a terminal. */
const COLUMNS = 80;

/** Returns the text that --help prints. */
function helpOf(command) {
  let text = '';
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
    getOutHelpWidth: () => COLUMNS,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text.trim();
}
