/** A project whose packages are locked as in this checkout. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../root.js';

export interface LockEntry {
  dependencies?: Record<string, string>;
  hasInstallScript?: boolean;
  gypfile?: boolean;
}

/** A project with one dependency, locked as in this checkout. @param change applied to the entry of the dependency */
export function writeProjectOf(folder: string, name: string, change: (entry: LockEntry) => void): void {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockEntry & { version: string }>;
  };
  const packages: Record<string, unknown> = {};
  const add = (each: string) => {
    const entry = lock.packages[`node_modules/${each}`];
    if (entry === undefined || `node_modules/${each}` in packages) return;
    packages[`node_modules/${each}`] = entry;
    for (const other of Object.keys(entry.dependencies ?? {})) add(other);
  };
  add(name);
  const entry = lock.packages[`node_modules/${name}`];
  assert.ok(entry, name);
  change(entry);
  const dependencies = { [name]: entry.version };
  packages[''] = { dependencies };
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }));
  writeFileSync(
    join(folder, 'package-lock.json'),
    JSON.stringify({ lockfileVersion: 3, requires: true, packages }),
  );
}
