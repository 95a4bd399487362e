import type { Command } from 'commander';
import { stringify } from 'yaml';
import type { SettingOrigin } from '../config/load.js';
import { CONFIG_FIELDS, type ConfigKey } from '../config/schema.js';
import { type ConfigFlags, configOf, withConfigFlags } from './config-flags.js';
import type { ProgramContext } from './index.js';
import { print, printJson } from './output.js';

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
  salad config print --config salad.yaml --json    checked as "salad serve" would check it`,
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
