import type { Command } from 'commander';
import { stringify } from 'yaml';
import { makeApiKey } from '../../auth/api-keys.js';
import { SCOPES, type Scope } from '../../auth/identity.js';
import type { SettingOrigin } from '../../config/load.js';
import { CONFIG_FIELDS, type ConfigKey } from '../../config/schema.js';
import { SaladError } from '../../errors/index.js';
import { type ConfigFlags, configOf, withConfigFlags } from '../shared/config-flags.js';
import type { ProgramContext } from '../shared/context.js';
import { note, print, printJson } from '../shared/output.js';

type PrintFlags = ConfigFlags & { readonly sources?: boolean; readonly json?: boolean };

export function registerConfig(program: Command, context: ProgramContext): void {
  const config = program
    .command('config')
    .description("look at the server's configuration")
    .addHelpText(
      'after',
      `
Examples:
  salad config print --sources                     every setting, and where its value came from
  salad config print --config salad.yaml --json    checked as "salad serve" would check it
  salad config make-key --name detector-7          an API key and its entry`,
    );
  withConfigFlags(config.command('print'))
    .description('the settings a server would start with; exit 2 where it would refuse to')
    .option('--sources', 'where each value came from: default, file and line, variable, flag')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
What it prints is itself a file for --config.

Examples:
  salad config print --sources
  SALAD_WORKERS=4 salad config print --config salad.yaml --set maxQueueMs=2000 --sources --json`,
    )
    .action((flags: PrintFlags) => printConfig(flags, context));
  config
    .command('make-key')
    .description('a new API key, and the entry of authApiKeysFile that admits it')
    .requiredOption('--name <name>', 'who will hold it; limits count by it')
    .option('--scopes <list>', `of ${SCOPES.join(', ')}; commas between`, 'score')
    .option('--expires <date-time>', 'such as 2027-01-31T00:00:00Z (default: never)')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
The key is shown once and stored nowhere; the file holds its hash.

Example:
  salad config make-key --name detector-7 --expires 2027-01-31T00:00:00Z`,
    )
    .action(makeKey);
}

interface KeyFlags {
  readonly name: string;
  readonly scopes: string;
  readonly expires?: string;
  readonly json?: boolean;
}

function makeKey({ name, scopes, expires, json }: KeyFlags): void {
  const wanted = scopes.split(',').map((scope) => scope.trim());
  const unknown = wanted.find((scope) => !(SCOPES as readonly string[]).includes(scope));
  if (unknown !== undefined) {
    throw new SaladError('CONFIGURATION_INVALID', `--scopes ${unknown}: use ${SCOPES.join(', ')}`);
  }
  if (expires !== undefined && !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(expires)) {
    throw new SaladError('CONFIGURATION_INVALID', `--expires ${expires}: write it as 2027-01-31T00:00:00Z`);
  }
  const { key, entry } = makeApiKey({
    name,
    scopes: wanted as Scope[],
    ...(expires === undefined ? {} : { expires }),
  });
  if (json) {
    printJson({ key, entry });
    return;
  }
  note(`The key, for x-api-key or SALAD_CLIENT_API_KEY (shown only now):\n${key}\n\nFor authApiKeysFile:`);
  print(stringify({ keys: [entry] }, { lineWidth: 0 }).trimEnd());
}

async function printConfig(flags: PrintFlags, context: ProgramContext): Promise<void> {
  const { config, origins } = await configOf(flags, context);
  const keys = Object.keys(CONFIG_FIELDS) as ConfigKey[];
  if (flags.json) {
    const shown = keys.map((key) => [
      key,
      flags.sources ? { value: config[key], ...origins[key] } : config[key],
    ]);
    printJson(Object.fromEntries(shown));
    return;
  }
  const lines = keys.map((key) => stringify({ [key]: config[key] }, { lineWidth: 0 }).trimEnd());
  const width = Math.max(...lines.map((line) => line.length));
  for (const [index, key] of keys.entries()) {
    const line = lines[index] ?? '';
    print(flags.sources ? `${line.padEnd(width)}  # ${originText(origins[key])}` : line);
  }
}

function originText({ source, where }: SettingOrigin): string {
  return source === 'environment' ? `environment ${where}` : where || source;
}
