/** A section of the configuration: a group of settings, and the type that a part of the program takes. */
import type { ConfigField } from './field.js';

export interface ConfigSection {
  /** Heading in docs/reference/config.md. */
  readonly title: string;
  /** One human-readable sentence. */
  readonly description: string;
  /** By key. Keys are unique over all sections: the YAML file and the environment have no sections. */
  readonly fields: Readonly<Record<string, ConfigField<unknown>>>;
}

/** The checked values of a section's fields. */
export type SettingsOf<Fields> = {
  readonly [Key in keyof Fields]: Fields[Key] extends ConfigField<infer Value> ? Value : never;
};
