/** Loads the configuration from defaults, the YAML file, environment variables and flags, and validates it. */
import { type FieldViolation, SaladError } from '../errors/index.js';
import { closestName } from '../util/closest-name.js';
import { crossFieldViolations } from './cross-field.js';
import { readConfigFile } from './file.js';
import { CONFIG_FIELDS, type ConfigKey, type ServeConfig } from './schema.js';

/** The later source wins: defaults, file, environment, flags. */
export interface ConfigSources {
  /** Defaults of a command, where they differ from those of the schema. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /** Path of the YAML file; its keys are those of the schema. */
  readonly file?: string;
  /** Environment variables; the schema gives their names. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** By key; values may be text. */
  readonly flags?: Readonly<Record<string, unknown>>;
}

export interface SettingOrigin {
  readonly source: 'default' | 'file' | 'environment' | 'flag';
  /** FILE:LINE, the variable or the flag; empty for a default. */
  readonly where: string;
}

export interface LoadedConfig {
  readonly config: ServeConfig;
  readonly origins: Readonly<Record<ConfigKey, SettingOrigin>>;
}

/** A value from one source, before validation; the key may be unknown. */
interface RawSetting extends SettingOrigin {
  readonly key: string;
  readonly value: unknown;
}

/**
 * @throws SaladError CONFIGURATION_INVALID, with every key that is wrong, its source and its allowed values
 */
export async function loadConfig(sources: ConfigSources = {}): Promise<ServeConfig> {
  return (await loadConfigWithOrigins(sources)).config;
}

/** As `loadConfig`, and returns the source of every value. */
export async function loadConfigWithOrigins(sources: ConfigSources = {}): Promise<LoadedConfig> {
  const violations: FieldViolation[] = [];
  const settings = [
    ...settingsFrom('default', sources.defaults ?? {}, () => 'default'),
    ...(sources.file === undefined ? [] : await settingsFromFile(sources.file)),
    ...settingsFromEnvironment(sources.environment ?? {}, violations),
    ...settingsFrom('flag', sources.flags ?? {}, (key) => `flag ${key}`),
  ];
  const values: Record<string, unknown> = {};
  const origins: Record<string, SettingOrigin> = {};
  for (const [key, field] of Object.entries(CONFIG_FIELDS)) {
    values[key] = field.default;
    origins[key] = { source: 'default', where: '' };
  }
  for (const setting of settings) {
    const parsed = parseSetting(setting, violations);
    if (parsed === undefined) continue;
    values[setting.key] = parsed.value;
    const { source, where } = setting;
    origins[setting.key] = { source, where: source === 'default' ? '' : where };
  }
  const config = values as ServeConfig;
  if (violations.length === 0) violations.push(...crossFieldViolations(config));
  if (violations.length > 0) throw invalidConfig(violations);
  return {
    config: Object.freeze(config),
    origins: origins as Record<ConfigKey, SettingOrigin>,
  };
}

/** One error for all violations, so that a user can correct all of them before the next start. */
function invalidConfig(violations: readonly FieldViolation[]): SaladError {
  const message = violations.map(({ description }) => description).join('\n');
  return new SaladError('CONFIGURATION_INVALID', message, { fieldViolations: violations });
}

/** @returns undefined after adding a violation */
function parseSetting(
  { key, value, where }: RawSetting,
  violations: FieldViolation[],
): { value: unknown } | undefined {
  if (!Object.hasOwn(CONFIG_FIELDS, key)) {
    violations.push({ field: key, description: unknownName(where, key, Object.keys(CONFIG_FIELDS)) });
    return undefined;
  }
  const field = CONFIG_FIELDS[key as ConfigKey];
  const parsed = field.schema.safeParse(value);
  if (parsed.success) return { value: parsed.data };
  const unit = field.unit === 'none' ? '' : ` ${field.unit}`;
  const description = `${where}: ${key} = ${JSON.stringify(value)}; allowed: ${field.allowed}${unit}`;
  violations.push({ field: key, description });
  return undefined;
}

function unknownName(where: string, name: string, validNames: readonly string[]): string {
  const closest = closestName(name, validNames);
  const hint = closest === undefined ? `known: ${validNames.join(', ')}` : `did you mean ${closest}?`;
  return `${where}: unknown setting "${name}"; ${hint}`;
}

function settingsFrom(
  source: RawSetting['source'],
  values: Readonly<Record<string, unknown>>,
  where: (key: string) => string,
): RawSetting[] {
  return Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ({ key, value, source, where: where(key) }));
}

async function settingsFromFile(file: string): Promise<RawSetting[]> {
  return (await readConfigFile(file)).map((setting) => ({ ...setting, source: 'file' }));
}

/**
 * Variables that are not settings: those that Kubernetes injects for every service of the namespace (a service "salad"
 * gives SALAD_SERVICE_HOST and SALAD_PORT_50051_TCP_ADDR), those that `salad score` and `salad load` read, and those of
 * tests and benchmarks.
 */
const OTHER_VARIABLES = [
  /_SERVICE_(HOST|PORT(_\w+)?)$/,
  /_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/,
  /^SALAD_CLIENT_/,
  /^SALAD_(BENCH|SOAK|TEST)_/,
];

/** An empty variable counts as unset, because deployments often cannot leave a variable out. */
function settingsFromEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  violations: FieldViolation[],
): RawSetting[] {
  const keyByVariable = new Map(Object.entries(CONFIG_FIELDS).map(([key, { env }]) => [env, key]));
  const settings: RawSetting[] = [];
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith('SALAD_') || value === undefined || value === '') continue;
    const key = keyByVariable.get(name);
    if (key !== undefined) settings.push({ key, value, source: 'environment', where: name });
    else if (!OTHER_VARIABLES.some((pattern) => pattern.test(name))) {
      const description = unknownName('environment', name, [...keyByVariable.keys()]);
      violations.push({ field: name, description });
    }
  }
  return settings;
}
