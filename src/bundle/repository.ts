/** Where bundles lie: `models/<name>/<version>/`. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SaladError } from '../errors/index.js';
import { BUNDLE_FILES } from './bundle.js';

export interface BundleLocation {
  readonly name: string;
  readonly version: number;
  readonly directory: string;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Folders that hold a manifest, by name, then version ascending; nothing is checked.
 * @throws SaladError CONFIGURATION_INVALID where the models folder cannot be read.
 */
export async function listBundles(modelsDirectory: string): Promise<readonly BundleLocation[]> {
  let names: string[];
  try {
    const entries = await readdir(modelsDirectory, { withFileTypes: true });
    names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    throw new SaladError('CONFIGURATION_INVALID', `models folder ${modelsDirectory} cannot be read`, {
      cause: error,
    });
  }
  const found: BundleLocation[] = [];
  for (const name of names.sort()) {
    const versions = (await readdir(join(modelsDirectory, name)))
      .filter((version) => /^[1-9]\d*$/.test(version))
      .map(Number)
      .sort((a, b) => a - b);
    for (const version of versions) {
      const directory = join(modelsDirectory, name, String(version));
      if (await exists(join(directory, BUNDLE_FILES.manifest))) found.push({ name, version, directory });
    }
  }
  return found;
}

/**
 * @param model a bundle folder, `name` (its highest version) or `name@version`.
 * @throws SaladError MODEL_NOT_FOUND
 */
export async function findBundle(modelsDirectory: string, model: string): Promise<string> {
  if (await exists(join(model, BUNDLE_FILES.manifest))) return model;
  const [name, version] = model.split('@');
  const candidates = (await listBundles(modelsDirectory)).filter(
    (bundle) => bundle.name === name && (version === undefined || String(bundle.version) === version),
  );
  const last = candidates.at(-1);
  if (last === undefined) {
    throw new SaladError(
      'MODEL_NOT_FOUND',
      `no bundle ${model} in ${modelsDirectory}, and no folder of that name`,
    );
  }
  return last.directory;
}
