/** Settings from all their places, checked: defaults, then the YAML file, then variables, then flags. */
import { type FieldViolation, SaladError } from '../errors/index.js';
import { checkTogether } from './check.js';
import { readConfigFile } from './file.js';
import { nearest } from './nearest.js';
import { CONFIG_FIELDS, type ConfigKey, type ServeConfig } from './schema.js';

export interface ConfigSources {
  /** The program's own defaults where they differ from the schema's; lowest precedence. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /** YAML file; its keys are those of the schema. */
  readonly file?: string;
  /** Environment variables, under the names of the schema. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Highest precedence; values may be text. */
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

/** A setting as somebody wrote it. */
interface Written extends SettingOrigin {
  readonly key: string;
  readonly value: unknown;
}

/** @throws SaladError CONFIGURATION_INVALID naming every key at fault, where it stands and what is allowed */
export async function loadConfig(sources: ConfigSources = {}): Promise<ServeConfig> {
  return (await loadConfigWithOrigins(sources)).config;
}

/** As `loadConfig`, and where every value came from. */
export async function loadConfigWithOrigins(sources: ConfigSources = {}): Promise<LoadedConfig> {
  const problems: FieldViolation[] = [];
  const written = [
    ...writtenIn('default', sources.defaults ?? {}, () => 'default'),
    ...(sources.file === undefined ? [] : await fromFile(sources.file)),
    ...fromEnvironment(sources.environment ?? {}, problems),
    ...writtenIn('flag', sources.flags ?? {}, (key) => `flag ${key}`),
  ];
  const config: Record<string, unknown> = {};
  const origins: Record<string, SettingOrigin> = {};
  for (const [key, field] of Object.entries(CONFIG_FIELDS)) {
    config[key] = field.default;
    origins[key] = { source: 'default', where: '' };
  }
  for (const setting of written) {
    const checked = checkValue(setting, problems);
    if (checked === undefined) continue;
    config[setting.key] = checked.value;
    const { source, where } = setting;
    origins[setting.key] = { source, where: source === 'default' ? '' : where };
  }
  const complete = config as ServeConfig;
  if (problems.length === 0) problems.push(...checkTogether(complete));
  if (problems.length > 0) throw invalid(problems);
  return {
    config: Object.freeze(complete),
    origins: origins as Record<ConfigKey, SettingOrigin>,
  };
}

/** One error for all that is wrong, so that nobody mends a file one start at a time. */
function invalid(problems: readonly FieldViolation[]): SaladError {
  return new SaladError('CONFIGURATION_INVALID', problems.map(({ description }) => description).join('\n'), {
    fieldViolations: problems,
  });
}

function checkValue(
  { key, value, where }: Written,
  problems: FieldViolation[],
): { value: unknown } | undefined {
  if (!Object.hasOwn(CONFIG_FIELDS, key)) {
    problems.push({ field: key, description: unknown(where, key, Object.keys(CONFIG_FIELDS)) });
    return undefined;
  }
  const field = CONFIG_FIELDS[key as ConfigKey];
  const checked = field.schema.safeParse(value);
  if (checked.success) return { value: checked.data };
  const unit = field.unit === 'none' ? '' : ` ${field.unit}`;
  const description = `${where}: ${key} = ${JSON.stringify(value)}; allowed: ${field.allowed}${unit}`;
  problems.push({ field: key, description });
  return undefined;
}

function unknown(where: string, name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  const hint = near === undefined ? `known: ${known.join(', ')}` : `did you mean ${near}?`;
  return `${where}: unknown setting "${name}"; ${hint}`;
}

function writtenIn(
  source: Written['source'],
  values: Readonly<Record<string, unknown>>,
  where: (key: string) => string,
): Written[] {
  return Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ({ key, value, source, where: where(key) }));
}

async function fromFile(file: string): Promise<Written[]> {
  return (await readConfigFile(file)).map((setting) => ({ ...setting, source: 'file' }));
}

/**
 * Variables that are no settings: what Kubernetes injects for every service in the namespace (a service "salad"
 * gives SALAD_SERVICE_HOST and SALAD_PORT_50051_TCP_ADDR), what `salad score` and `salad load` read, and the
 * switches of tests and bench.
 */
const FOREIGN_VARIABLES = [
  /_SERVICE_(HOST|PORT(_\w+)?)$/,
  /_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/,
  /^SALAD_CLIENT_/,
  /^SALAD_(BENCH|SOAK|TEST)_/,
];

/** Empty means unset, as in most shells' deployments. */
function fromEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  problems: FieldViolation[],
): Written[] {
  const keys = new Map(Object.entries(CONFIG_FIELDS).map(([key, { env }]) => [env, key]));
  const written: Written[] = [];
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith('SALAD_') || value === undefined || value === '') continue;
    const key = keys.get(name);
    if (key !== undefined) written.push({ key, value, source: 'environment', where: name });
    else if (!FOREIGN_VARIABLES.some((pattern) => pattern.test(name))) {
      problems.push({ field: name, description: unknown('environment', name, [...keys.keys()]) });
    }
  }
  return written;
}
