import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { SaladError } from '../errors/index.js';
import { CONFIG_FIELDS, type ConfigKey, type ServeConfig } from './schema.js';

export interface ConfigSources {
  /** The program's own defaults where they differ from the schema's; lowest precedence. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /** YAML file; its keys are those of the schema. */
  readonly file?: string;
  /** Environment variables; only those the schema names are read. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Highest precedence; values may be text. */
  readonly flags?: Readonly<Record<string, unknown>>;
}

/**
 * Defaults, then file, then environment, then flags.
 * @throws SaladError CONFIGURATION_INVALID naming the key and where it came from.
 */
export async function loadConfig(sources: ConfigSources = {}): Promise<ServeConfig> {
  const fromFile = sources.file === undefined ? {} : await readConfigFile(sources.file);
  return resolveConfig([
    { origin: 'default', values: sources.defaults ?? {} },
    { origin: sources.file ?? 'file', values: fromFile },
    { origin: 'environment', values: fromEnvironment(sources.environment ?? {}) },
    { origin: 'flag', values: sources.flags ?? {} },
  ]);
}

interface Layer {
  readonly origin: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** Later layers win. */
export function resolveConfig(layers: readonly Layer[]): ServeConfig {
  const config: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(CONFIG_FIELDS)) config[key] = field.default;
  for (const { origin, values } of layers) {
    for (const [key, value] of Object.entries(values)) {
      if (value === undefined) continue;
      config[key] = checkValue(key, value, origin);
    }
  }
  return Object.freeze(config) as ServeConfig;
}

function checkValue(key: string, value: unknown, origin: string): unknown {
  if (!Object.hasOwn(CONFIG_FIELDS, key)) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `${origin}: unknown setting "${key}"; known: ${Object.keys(CONFIG_FIELDS).join(', ')}`,
    );
  }
  const field = CONFIG_FIELDS[key as ConfigKey];
  const checked = field.schema.safeParse(value);
  if (checked.success) return checked.data;
  const why = checked.error.issues.map((issue) => issue.message).join('; ');
  throw new SaladError('CONFIGURATION_INVALID', `${origin}: ${key} = ${JSON.stringify(value)}: ${why}`);
}

/**
 * Unknown SALAD_ variables are left alone: Kubernetes injects such names (SALAD_SERVICE_HOST) for a
 * service called "salad". Empty means unset, as in most shells' deployments.
 */
function fromEnvironment(environment: Readonly<Record<string, string | undefined>>): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(CONFIG_FIELDS)) {
    const value = environment[field.env];
    if (value !== undefined && value !== '') values[key] = value;
  }
  return values;
}

async function readConfigFile(file: string): Promise<Record<string, unknown>> {
  let parsed: unknown;
  try {
    parsed = parse(await readFile(file, 'utf8'));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SaladError('CONFIGURATION_INVALID', `${file}: ${why}`, { cause: error });
  }
  if (parsed === null) return {};
  if (typeof parsed !== 'object' || Array.isArray(parsed)) {
    throw new SaladError('CONFIGURATION_INVALID', `${file}: must be a mapping of settings`);
  }
  return parsed as Record<string, unknown>;
}
