/** The flags behind which a server's configuration stands, the same for every verb that reads one. */
import type { Command } from 'commander';
import { type ConfigSources, type LoadedConfig, loadConfigWithOrigins } from '../../config/load.js';
import { SaladError } from '../../errors/index.js';
import { shippedModels } from '../../util/package-root.js';
import type { ProgramContext } from './context.js';

export interface ConfigFlags {
  readonly listen?: string;
  readonly models?: string;
  readonly engine?: string;
  readonly precision?: string;
  readonly workers?: string;
  readonly config?: string;
  readonly set?: Readonly<Record<string, string>>;
}

export function withConfigFlags(command: Command): Command {
  return command
    .option('--listen <host:port>', 'where to listen; port 0 takes a free one')
    .option('--models <dir>', 'folder of bundles: <name>/<version>/ (default: the shipped ones)')
    .option('--engine <name>', 'auto, tensorflow, webgpu, openvino, onnx or wasm')
    .option('--precision <name>', 'float32 or int8 (models with learned layers, onnx engine)')
    .option('--workers <count>', 'engine workers; 0 = one per core')
    .option('--config <file>', 'YAML file; flags and SALAD_ variables override it (docs/reference/config.md)')
    .option('--set <key=value>', 'any setting of docs/reference/config.md; may be repeated', addSetting);
}

/** @throws SaladError CONFIGURATION_INVALID */
export function configOf(flags: ConfigFlags, context: ProgramContext): Promise<LoadedConfig> {
  const { listen, models, engine, precision, workers, config: file, set } = flags;
  const sources: ConfigSources = {
    environment: context.environment,
    defaults: { models: shippedModels() },
    flags: { listen, models, engine, precision, workers, ...set },
    ...(file === undefined ? {} : { file }),
  };
  return loadConfigWithOrigins(sources);
}

function addSetting(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined || value === undefined) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `--set ${text}: write KEY=VALUE (docs/reference/config.md)`,
    );
  }
  return { ...before, [key]: value };
}
