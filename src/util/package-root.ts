import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout or installed package this file is part of, whether run from src/ or from dist/. */
export function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'proto', 'salad'))) {
    const parent = dirname(directory);
    if (parent === directory) throw new Error('cannot find the package root: proto/salad is missing');
    directory = parent;
  }
  return directory;
}

/** The bundles that ship with the package. */
export function shippedModels(): string {
  return join(packageRoot(), 'models');
}
