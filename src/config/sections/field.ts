/** One setting of the configuration, and the kinds of settings: address, path, text, choice, toggle, whole number. */
import { delimiter } from 'node:path';
import { z } from 'zod';

/** Describes one setting; docs/reference/config.md is generated from these descriptions. */
export interface ConfigField<T> {
  /** Name of the environment variable. */
  readonly env: string;
  readonly default: T;
  /** `none` for text and toggles. */
  readonly unit: string;
  readonly min?: number;
  readonly max?: number;
  /** The allowed values, human-readable. */
  readonly allowed: string;
  /** Human-readable: what the setting does. */
  readonly description: string;
  /** Parses a value of the YAML file, a variable or a flag. */
  readonly schema: z.ZodType<T>;
}

/** The properties that a setting states itself; its kind adds the others. */
type FieldOptions<T> = Omit<ConfigField<T>, 'allowed' | 'schema' | 'unit' | 'min' | 'max'>;

/** HOST:PORT, with an IPv6 host in brackets. */
const ADDRESS = /^(\[[0-9a-fA-F:.]+\]|[^:\s]+):(\d{1,5})$/;
const PORT_MAX = 65_535;

const isAddress = (value: string) => Number(ADDRESS.exec(value)?.[2] ?? Number.NaN) <= PORT_MAX;

export const address = (field: FieldOptions<string>): ConfigField<string> => ({
  ...field,
  unit: 'none',
  allowed: 'HOST:PORT, the port 0 to 65535',
  schema: z.string().refine(isAddress),
});

export const optionalAddress = (field: FieldOptions<string>): ConfigField<string> => ({
  ...field,
  unit: 'none',
  allowed: 'HOST:PORT, the port 0 to 65535, or empty',
  schema: z.string().refine((value) => value === '' || isAddress(value)),
});

export const path = (field: FieldOptions<string>): ConfigField<string> => ({
  ...field,
  unit: 'none',
  allowed: 'a path',
  schema: z.string().min(1),
});

/** One or more paths: a list, or one text in which they are separated as in PATH. */
export const paths = (field: FieldOptions<readonly string[]>): ConfigField<readonly string[]> => ({
  ...field,
  unit: 'none',
  allowed: `paths, as a list or separated by ${delimiter}`,
  schema: z
    .union([z.array(z.string()), z.string().transform((text) => text.split(delimiter))])
    .refine((list) => list.length > 0 && list.every((each) => each !== '')),
});

/** Any text; empty means unset. */
export const optionalText = (
  field: FieldOptions<string> & { readonly allowed: string },
): ConfigField<string> => ({
  ...field,
  unit: 'none',
  schema: z.string(),
});

export const choice = <T extends string>(
  values: readonly T[],
  field: Omit<FieldOptions<T>, 'default'> & { readonly default: NoInfer<T> },
): ConfigField<T> => ({ ...field, unit: 'none', allowed: values.join(', '), schema: z.enum(values) });

/** A YAML boolean, or `true` or `false` as text: flags and variables are text. */
export const toggle = (field: FieldOptions<boolean>): ConfigField<boolean> => ({
  ...field,
  unit: 'none',
  allowed: 'true, false',
  schema: z.union([z.boolean(), z.enum(['true', 'false']).transform((value) => value === 'true')]),
});

/** A whole number. Flags and variables are text, which may only contain decimal digits. */
export const whole = (
  field: FieldOptions<number> & { readonly unit: string; readonly min: number; readonly max: number },
): ConfigField<number> => {
  const { min, max } = field;
  const digits = z
    .string()
    .regex(/^\d+$/)
    .transform((value) => Number(value));
  return {
    ...field,
    allowed: `${min} to ${max}`,
    schema: z.union([z.number(), digits]).pipe(z.int().min(min).max(max)),
  };
};

/** A whole number, or the word `auto`. */
export const wholeOrAuto = (
  field: FieldOptions<number | 'auto'> & {
    readonly unit: string;
    readonly min: number;
    readonly max: number;
  },
): ConfigField<number | 'auto'> => {
  const { default: _default, ...rest } = field;
  const number = whole({ ...rest, default: field.min });
  return {
    ...field,
    allowed: `${number.allowed}, or auto`,
    schema: z.union([z.literal('auto'), number.schema]),
  };
};
