import type { Command } from 'commander';
import { stringify } from 'yaml';
import { makeApiKey } from '../../auth/api-keys.js';
import { SCOPES, type Scope } from '../../auth/identity.js';
import type { SettingOrigin } from '../../config/load.js';
import { CONFIG_FIELDS, type ConfigKey } from '../../config/schema.js';
import { SaladError } from '../../errors/index.js';
import { type ConfigFlags, configOf, withConfigFlags } from '../shared/config-flags.js';
import type { ProgramContext } from '../shared/context.js';
import { helpText } from '../shared/help.js';
import { note, print, printJson } from '../shared/output.js';

type PrintFlags = ConfigFlags & { readonly sources?: boolean; readonly json?: boolean };

export function registerConfig(program: Command, context: ProgramContext): void {
  const config = program
    .command('config')
    .summary('print and check the settings of a server; make API keys')
    .description('Prints and checks the settings of a server, and makes API keys.')
    .addHelpText(
      'after',
      helpText(
        [],
        [
          ['salad config print --sources', 'every setting, and where its value came from'],
          ['salad config print --config salad.yaml', 'checked as "salad serve" would check it'],
          ['salad config make-key --name detector-7', 'an API key and its entry in the key file'],
        ],
      ),
    );
  withConfigFlags(config.command('print'))
    .summary('the settings a server would start with')
    .description(
      'Prints the settings that a server would start with; exits with 2 where it would refuse to start.',
    )
    .option('--sources', 'where each value came from: default, file and line, variable, flag')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      helpText(
        ['What it prints is itself a file for --config.'],
        [
          ['salad config print --sources', 'every setting, and where its value came from'],
          [
            'SALAD_WORKERS=4 salad config print --set maxQueueMs=2000 --json',
            'variables and flags, for programs',
          ],
        ],
      ),
    )
    .action((flags: PrintFlags) => printConfig(flags, context));
  config
    .command('make-key')
    .summary('a new API key, and its entry in the key file')
    .description(
      'Makes an API key. The key goes to stderr, once, and is stored nowhere; the entry for the file that ' +
        'authApiKeysFile names goes to stdout and holds only the hash.',
    )
    .requiredOption('--name <name>', 'who will hold it; limits count by it')
    .option('--scopes <list>', `what it allows: ${SCOPES.join(', ')}; commas between`, 'score')
    .option('--expires <date-time>', 'such as 2099-01-31T00:00:00Z (default: never)')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      helpText(
        [],
        [
          ['salad config make-key --name detector-7 > keys.yaml', 'a file with one key'],
          ['salad config make-key --name ops --scopes score,admin', 'a key that may change the server too'],
        ],
      ),
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
  const { key, entry } = makeApiKey({
    name: checkedName(name),
    scopes: checkedScopes(scopes),
    ...(expires === undefined ? {} : { expires: checkedExpiry(expires) }),
  });
  if (json) {
    printJson({ key, entry });
    return;
  }
  note(`The key, for x-api-key or SALAD_CLIENT_API_KEY (shown only now):\n${key}\n\nFor authApiKeysFile:`);
  print(stringify({ keys: [entry] }, { lineWidth: 0 }).trimEnd());
}

/** @throws SaladError CONFIGURATION_INVALID */
function checkedName(name: string): string {
  if (name.trim() !== '' && !/\p{Cc}/u.test(name)) return name;
  throw new SaladError('CONFIGURATION_INVALID', `--name ${JSON.stringify(name)}: write a name on one line`);
}

/** @throws SaladError CONFIGURATION_INVALID */
function checkedScopes(list: string): Scope[] {
  const isScope = (text: string): text is Scope => (SCOPES as readonly string[]).includes(text);
  const scopes = new Set<Scope>();
  for (const scope of list.split(',').map((text) => text.trim())) {
    if (!isScope(scope)) {
      throw new SaladError('CONFIGURATION_INVALID', `--scopes "${scope}": use ${SCOPES.join(', ')}`);
    }
    scopes.add(scope);
  }
  return [...scopes];
}

/** @throws SaladError CONFIGURATION_INVALID for what is no moment, or one that is over */
function checkedExpiry(text: string): string {
  const moment = Date.parse(text);
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(text) || Number.isNaN(moment)) {
    throw new SaladError('CONFIGURATION_INVALID', `--expires ${text}: write it as 2099-01-31T00:00:00Z`);
  }
  if (moment <= Date.now()) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--expires ${text} is over: the key would never be accepted`,
    );
  }
  return text;
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
