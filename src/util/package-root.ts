import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findUpwards } from './find-upwards.js';

/** The root of the checkout or installed package that contains this file, also where it runs from dist/. */
export function packageRoot(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  const root = findUpwards(start, (folder) => existsSync(join(folder, 'proto', 'salad')));
  if (root === undefined) throw new Error('cannot find the package root: proto/salad is missing');
  return root;
}

/** The bundles that ship with the package. */
export function shippedModels(): string {
  return join(packageRoot(), 'models');
}

/** The version in package.json. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as {
    readonly version: string;
  };
  return version;
}
