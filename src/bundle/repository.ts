/**
 * Finds model bundles. A bundle of a models folder is served only where its manifest has the name and version of its
 * folder NAME/VERSION, so there are never two bundles of one name and version.
 */
import { join } from 'node:path';
import { SaladError } from '../errors/index.js';
import { modelHint } from '../util/closest-name.js';
import { type Bundle, readBundle } from './bundle.js';
import { readManifest } from './files.js';
import {
  type Candidate,
  type IgnoredFolder,
  isBundle,
  listModelFolders,
  type ModelFolder,
  modelKey,
  type RefusedBundle,
} from './model-folders.js';

export { type IgnoredFolder, modelKey, type RefusedBundle } from './model-folders.js';

export interface FoundBundle {
  readonly kind: 'bundle';
  /** `name@version`. */
  readonly model: string;
  readonly bundle: Bundle;
}

/** A folder of a models folder: a bundle to serve, or the reason why it is not served. */
export type Finding = FoundBundle | RefusedBundle | IgnoredFolder;

/**
 * Reads and checks every bundle of the models folders, one after another, in the order of `listModelFolders`. Also
 * yields the folders that are not served, with the reasons.
 * @throws SaladError CONFIGURATION_INVALID where a models folder itself cannot be read.
 */
export async function* openBundles(...directories: readonly string[]): AsyncGenerator<Finding> {
  for (const folder of await listModelFolders(directories)) {
    yield folder.kind === 'candidate' ? await openCandidate(folder) : folder;
  }
}

/** Reads and checks one bundle. Never rejects. */
export async function openCandidate(candidate: Candidate): Promise<FoundBundle | RefusedBundle> {
  const { directory } = candidate;
  const model = modelKey(candidate);
  try {
    return { kind: 'bundle', model, bundle: await readBundle(directory, candidate) };
  } catch (error) {
    return { kind: 'refused', model, directory, error: SaladError.from(error) };
  }
}

/**
 * Finds the folder of one bundle.
 * @param reference a bundle folder anywhere; or `name` (its highest version) or `name@version` in the models folders
 * @returns the bundle's folder, of which only the manifest was read
 * @throws SaladError MODEL_NOT_FOUND; BUNDLE_INVALID where the folder of that name and version holds another model;
 *   CONFIGURATION_INVALID where a models folder cannot be read
 */
export async function findBundle(
  modelsFolders: string | readonly string[],
  reference: string,
): Promise<string> {
  const directories = [modelsFolders].flat();
  if (await isBundle(reference)) return reference;
  const [name, version] = reference.split('@');
  const folders = await listModelFolders(directories);
  const candidates = folders.filter((folder) => folder.kind === 'candidate');
  const versions = candidates.filter((candidate) => candidate.name === name);
  if (version !== undefined) {
    const exact = versions.find((candidate) => String(candidate.version) === version);
    if (exact === undefined) throw notFound(directories, reference, folders);
    await readManifest(exact.directory, exact);
    return exact.directory;
  }
  for (const candidate of versions.reverse()) {
    const isReadable = await readManifest(candidate.directory, candidate).then(
      () => true,
      () => false,
    );
    if (isReadable) return candidate.directory;
  }
  throw notFound(directories, reference, folders);
}

function notFound(
  directories: readonly string[],
  reference: string,
  folders: readonly ModelFolder[],
): SaladError {
  const models = folders.filter((folder) => folder.kind === 'candidate').map(modelKey);
  const existing = models.join(', ') || 'nothing';
  const [name = ''] = reference.split('@');
  const nameFolders = directories.map((directory) => join(directory, name));
  const ignored = folders.find(
    (folder): folder is IgnoredFolder => folder.kind === 'ignored' && nameFolders.includes(folder.directory),
  );
  const why =
    ignored === undefined ? modelHint(reference, models) : `; ${ignored.directory}: ${ignored.reason}`;
  return new SaladError(
    'MODEL_NOT_FOUND',
    `no bundle ${reference} in ${directories.join(', ')} (there is ${existing}), and no bundle folder of that name${why}`,
  );
}
