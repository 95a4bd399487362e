/** Flags that set a server's configuration, shared by every command that reads one. */
import { type Command, Option } from 'commander';
import { type ConfigSources, type LoadedConfig, loadConfigWithOrigins } from '../../config/load.js';
import { REQUESTED_PRECISIONS } from '../../engines/engine.js';
import { SaladError } from '../../errors/index.js';
import { shippedModels } from '../../util/package-root.js';
import type { ProgramContext } from './context.js';
import { engineOption } from './flags.js';

export interface ConfigFlags {
  readonly listen?: string;
  readonly models?: readonly string[];
  readonly engine?: string;
  readonly precision?: string;
  readonly workers?: string;
  readonly processes?: string;
  readonly config?: string;
  readonly set?: Readonly<Record<string, string>>;
}

export function withConfigFlags(command: Command): Command {
  return command
    .optionsGroup('Address and models:')
    .option('--listen <host:port>', 'address to listen on; port 0 selects a free port')
    .option(
      '--models <dir>',
      'folder of bundles, <name>/<version>/, or one bundle; repeatable (default: the shipped models)',
      addFolder,
    )
    .optionsGroup('Engine:')
    .addOption(engineOption('inference engine; auto selects the fastest that works here'))
    .addOption(
      new Option('--precision <name>', 'arithmetic precision of learned encoders')
        .choices(REQUESTED_PRECISIONS)
        .default(undefined, 'float32'),
    )
    .option('--workers <n>', 'number of engine threads; 0: one per core (default: 0)')
    .option('--processes <n>', 'number of server processes behind the port, or auto (default: 1)')
    .optionsGroup('Settings:')
    .option('--config <file>', 'YAML file with settings; flags and SALAD_ variables override it')
    .option('--set <key=value>', 'any other setting; repeatable; "salad config print" lists all', addSetting)
    .optionsGroup('Options:');
}

/** @throws SaladError CONFIGURATION_INVALID */
export function configOf(flags: ConfigFlags, context: ProgramContext): Promise<LoadedConfig> {
  const { listen, models, engine, precision, workers, processes, config: file, set } = flags;
  const sources: ConfigSources = {
    environment: context.environment,
    defaults: { models: [shippedModels()] },
    flags: { listen, models, engine, precision, workers, processes, ...set },
    ...(file === undefined ? {} : { file }),
  };
  return loadConfigWithOrigins(sources);
}

/** Commander's parser for a repeatable `--models`. */
function addFolder(folder: string, earlier: readonly string[] = []): readonly string[] {
  return [...earlier, folder];
}

/** Commander's parser for a repeatable `--set`: adds one setting to those of earlier `--set` flags. */
function addSetting(text: string, earlier: Readonly<Record<string, string>> = {}): Record<string, string> {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined || value === undefined) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--set ${text}: write KEY=VALUE; docs/reference/config.md lists the keys`,
    );
  }
  return { ...earlier, [key]: value };
}
