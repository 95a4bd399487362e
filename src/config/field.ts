/** What a setting is, and the few kinds of settings there are. */
import { z } from 'zod';

/** Everything known of one setting; docs/reference/config.md is printed from these. */
export interface ConfigField<T> {
  readonly env: string;
  readonly default: T;
  /** `none` for names, addresses and switches. */
  readonly unit: string;
  readonly min?: number;
  readonly max?: number;
  /** What may be written, for people. */
  readonly allowed: string;
  /** One sentence for people. */
  readonly description: string;
  readonly schema: z.ZodType<T>;
}

type Common<T> = Omit<ConfigField<T>, 'allowed' | 'schema' | 'unit' | 'min' | 'max'>;

/** HOST:PORT, IPv6 hosts in brackets. */
const ADDRESS = /^(\[[0-9a-fA-F:.]+\]|[^:\s]+):\d{1,5}$/;

export const address = (field: Common<string>): ConfigField<string> => ({
  ...field,
  unit: 'none',
  allowed: 'HOST:PORT',
  schema: z.string().regex(ADDRESS),
});

export const optionalAddress = (field: Common<string>): ConfigField<string> => ({
  ...field,
  unit: 'none',
  allowed: 'HOST:PORT or empty',
  schema: z.string().refine((value) => value === '' || ADDRESS.test(value)),
});

export const path = (field: Common<string>): ConfigField<string> => ({
  ...field,
  unit: 'none',
  allowed: 'a path',
  schema: z.string().min(1),
});

/** Empty means that there is none. */
export const optionalText = (field: Common<string> & { readonly allowed: string }): ConfigField<string> => ({
  ...field,
  unit: 'none',
  schema: z.string(),
});

export const choice = <T extends string>(
  values: readonly T[],
  field: Omit<Common<T>, 'default'> & { readonly default: NoInfer<T> },
): ConfigField<T> => ({ ...field, unit: 'none', allowed: values.join(', '), schema: z.enum(values) });

/** YAML's own booleans, or the same words as text from flags and variables. */
export const toggle = (field: Common<boolean>): ConfigField<boolean> => ({
  ...field,
  unit: 'none',
  allowed: 'true, false',
  schema: z.union([z.boolean(), z.enum(['true', 'false']).transform((value) => value === 'true')]),
});

/** Numbers arrive as text from flags and variables: whole decimal digits only. */
export const whole = (
  field: Common<number> & { readonly unit: string; readonly min: number; readonly max: number },
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
