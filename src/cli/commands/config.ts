import type { Command } from 'commander';
import { stringify } from 'yaml';
import { isNewKeyName, makeApiKey, NEW_NAME_RULE } from '../../auth/api-keys.js';
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
          ['salad config print --sources', 'print every setting and the source of its value'],
          ['salad config print --config salad.yaml', 'check a file as "salad serve" would'],
          ['salad config make-key --name detector-7', 'make an API key and its entry for the key file'],
        ],
      ),
    );
  registerPrint(config, context);
  registerMakeKey(config);
}

function registerPrint(config: Command, context: ProgramContext): void {
  withConfigFlags(config.command('print'))
    .summary('print the settings that a server would start with')
    .description(
      'Prints the settings that a server would start with. Exits with code 2 if a server would refuse to start.',
    )
    .option('--sources', 'also print the source of each value: default, file and line, variable or flag')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      helpText(
        ['Without --json the output is a valid file for --config.'],
        [
          ['salad config print --sources', 'print every setting and the source of its value'],
          ['salad config print --config salad.yaml > full.yaml', 'write a file with every setting'],
          [
            'SALAD_WORKERS=4 salad config print --set maxQueueMs=2000 --json',
            'with settings from variables and flags, for a program',
          ],
        ],
      ),
    )
    .action((flags: PrintFlags) => printConfig(flags, context));
}

function registerMakeKey(config: Command): void {
  config
    .command('make-key')
    .summary('make an API key and its entry for the key file')
    .description(
      'Makes an API key. The key is printed once, on stderr, and is not stored. The entry for the file that the ' +
        'setting authApiKeysFile names is printed on stdout; it contains only the hash of the key.',
    )
    .requiredOption('--name <name>', `name of the caller, ${NEW_NAME_RULE}; quotas are counted per name`)
    .option('--scopes <list>', `allowed calls, separated by commas: ${SCOPES.join(', ')}`, 'score')
    .option('--expires <date-time>', 'end of validity, such as 2099-01-31T00:00:00Z (default: never)')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      helpText(
        [],
        [
          ['salad config make-key --name detector-7 > keys.yaml', 'write a key file with one key'],
          [
            'salad config make-key --name ops --scopes score,admin',
            'make a key that may also call the admin service',
          ],
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
  note(
    `API key, for the header x-api-key or the variable SALAD_CLIENT_API_KEY (shown only once):\n${key}\n\n` +
      'Entry for the file of authApiKeysFile:',
  );
  print(stringify({ keys: [entry] }, { lineWidth: 0 }).trimEnd());
}

/** @throws SaladError CONFIGURATION_INVALID */
function checkedName(name: string): string {
  if (isNewKeyName(name)) return name;
  throw new SaladError(
    'CONFIGURATION_INVALID',
    `--name ${JSON.stringify(name)}: write a name of ${NEW_NAME_RULE}`,
  );
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

/** @throws SaladError CONFIGURATION_INVALID if the text is not a time, or the time is in the past */
function checkedExpiry(text: string): string {
  const expiryMs = Date.parse(text);
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(text) || Number.isNaN(expiryMs)) {
    throw new SaladError('CONFIGURATION_INVALID', `--expires ${text}: write it as 2099-01-31T00:00:00Z`);
  }
  if (expiryMs <= Date.now()) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--expires ${text} is in the past: the key would never be accepted`,
    );
  }
  return text;
}

async function printConfig(flags: PrintFlags, context: ProgramContext): Promise<void> {
  const { config, origins } = await configOf(flags, context);
  const keys = Object.keys(CONFIG_FIELDS) as ConfigKey[];
  if (flags.json) {
    const entries = keys.map((key) => {
      const value = printed(config[key]);
      return [key, flags.sources ? { value, ...origins[key] } : value];
    });
    printJson(Object.fromEntries(entries));
    return;
  }
  const lines = keys.map((key) => {
    // A list on one line, so that its source may follow.
    const value = stringify(printed(config[key]), { lineWidth: 0, collectionStyle: 'flow' }).trimEnd();
    return `${key}: ${value}`;
  });
  const width = Math.max(...lines.map((line) => line.length));
  for (const [index, key] of keys.entries()) {
    const line = lines[index] ?? '';
    print(flags.sources ? `${line.padEnd(width)}  # ${originText(origins[key])}` : line);
  }
}

/** A list of one path as the path alone, as it was printed before there were lists. */
function printed<T>(value: T | readonly T[]): unknown {
  return Array.isArray(value) && value.length === 1 ? value[0] : value;
}

function originText({ source, where }: SettingOrigin): string {
  return source === 'environment' ? `environment ${where}` : where || source;
}
