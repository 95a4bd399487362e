/** Fields that commands print with `--json`, compared with those that an earlier commit printed. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../root.js';

/**
 * Type by path. A path is the keys from the top, joined by `/`; `*` stands for every element of an array and for every
 * key of a map. A type is one or several of `string`, `number`, `boolean`, `null`, `array` and `object`, joined by `|`.
 */
export type Fields = Readonly<Record<string, string>>;

/** What an earlier commit printed; scripts of users may read any of these fields. */
export const RECORDED = JSON.parse(readFileSync(join(root, 'test/oracles/cli-json.json'), 'utf8')) as {
  readonly commit: string;
  readonly lines: Readonly<Record<string, Fields>>;
};

/** Fails where the line lacks a recorded field or has another type in it. Additional fields are allowed. */
export function assertKeepsFields(name: string, line: unknown): void {
  const fields = RECORDED.lines[name];
  assert.ok(fields !== undefined, `test/oracles/cli-json.json has no "${name}"`);
  assert.deepEqual(changedFields(fields, line), [], `${name}: fields of ${RECORDED.commit} have changed`);
}

/** @returns a line for every field that is missing or has another type */
export function changedFields(fields: Fields, line: unknown): readonly string[] {
  return Object.entries(fields).flatMap(([path, types]) => {
    const values = valuesAt(line, path.split('/'));
    if (values.length === 0) return [`${path}: no value to compare`];
    const others = values.map(typeOf).filter((type) => !types.split('|').includes(type));
    return others.length === 0 ? [] : [`${path}: ${others[0]}, recorded as ${types}`];
  });
}

/** @returns a value for every element that `*` stands for; undefined where a field is missing */
function valuesAt(value: unknown, [key, ...rest]: readonly string[]): readonly unknown[] {
  if (key === undefined) return [value];
  if (typeof value !== 'object' || value === null) return [undefined];
  const next = key === '*' ? Object.values(value) : [(value as Readonly<Record<string, unknown>>)[key]];
  return next.flatMap((each) => valuesAt(each, rest));
}

function typeOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}
