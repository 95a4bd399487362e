/**
 * Finds model bundles. No other code depends on the layout of a models folder.
 *
 * A bundle is served only from `NAME/VERSION/`, and only where its manifest has the same name and version, so there are
 * never two bundles of one name and version. NAME and VERSION may be links. Files, and names that begin with two dots
 * (Kubernetes' `..data`), are skipped.
 */
import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SaladError, systemReason } from '../errors/index.js';
import { modelHint } from '../util/closest-name.js';
import { type Bundle, readBundle } from './bundle.js';
import { BUNDLE_FILES, type ModelIdentity, readManifest, unreadable } from './files.js';
import { modelNameSchema, VERSION_MAX } from './manifest.js';

/** A folder NAME/VERSION whose content has not been read. */
interface Candidate extends ModelIdentity {
  readonly directory: string;
}

/** A folder with a model's name or version that cannot be served. */
export interface RefusedBundle {
  readonly kind: 'refused';
  readonly directory: string;
  /** `name@version` of the folder; undefined where a whole NAME folder cannot be read. */
  readonly model: string | undefined;
  /** BUNDLE_INVALID. */
  readonly error: SaladError;
}

/** A folder that is not NAME/VERSION: a copy, a leftover of an interrupted write, lost+found. */
export interface IgnoredFolder {
  readonly kind: 'ignored';
  readonly directory: string;
  readonly reason: string;
}

export interface FoundBundle {
  readonly kind: 'bundle';
  /** `name@version`. */
  readonly model: string;
  readonly bundle: Bundle;
}

/** A folder of a models folder: a bundle to serve, or the reason why it is not served. */
export type Finding = FoundBundle | RefusedBundle | IgnoredFolder;

type Folder = ({ readonly kind: 'candidate' } & Candidate) | RefusedBundle | IgnoredFolder;

/** `name@version`. */
export function modelKey({ name, version }: ModelIdentity): string {
  return `${name}@${version}`;
}

/**
 * Reads and checks every bundle of a models folder, one after another: by name, then version. Also yields the folders
 * that are not served, with the reasons.
 * @throws SaladError CONFIGURATION_INVALID where the models folder itself cannot be read.
 */
export async function* openBundles(modelsDirectory: string): AsyncGenerator<Finding> {
  for (const folder of await listFolders(modelsDirectory)) {
    if (folder.kind !== 'candidate') {
      yield folder;
      continue;
    }
    const { directory } = folder;
    const model = modelKey(folder);
    try {
      yield { kind: 'bundle', model, bundle: await readBundle(directory, folder) };
    } catch (error) {
      yield { kind: 'refused', model, directory, error: SaladError.from(error) };
    }
  }
}

/**
 * Finds the folder of one bundle.
 * @param reference a bundle folder anywhere; or `name` (its highest version) or `name@version` in the models folder
 * @returns the bundle's folder, of which only the manifest was read
 * @throws SaladError MODEL_NOT_FOUND; BUNDLE_INVALID where the folder of that name and version holds another model;
 *   CONFIGURATION_INVALID where the models folder cannot be read
 */
export async function findBundle(modelsDirectory: string, reference: string): Promise<string> {
  if (await exists(join(reference, BUNDLE_FILES.manifest))) return reference;
  const [name, version] = reference.split('@');
  const folders = await listFolders(modelsDirectory);
  const candidates = folders.filter((folder) => folder.kind === 'candidate');
  const versions = candidates.filter((candidate) => candidate.name === name);
  if (version !== undefined) {
    const exact = versions.find((candidate) => String(candidate.version) === version);
    if (exact === undefined) throw notFound(modelsDirectory, reference, folders);
    await readManifest(exact.directory, exact);
    return exact.directory;
  }
  for (const candidate of versions.reverse()) {
    const isBundle = await readManifest(candidate.directory, candidate).then(
      () => true,
      () => false,
    );
    if (isBundle) return candidate.directory;
  }
  throw notFound(modelsDirectory, reference, folders);
}

function notFound(modelsDirectory: string, reference: string, folders: readonly Folder[]): SaladError {
  const models = folders.filter((folder) => folder.kind === 'candidate').map(modelKey);
  const existing = models.join(', ') || 'nothing';
  const nameFolder = join(modelsDirectory, reference.split('@')[0] ?? '');
  const ignored = folders.find(({ kind, directory }) => kind === 'ignored' && directory === nameFolder);
  const why =
    ignored?.kind === 'ignored' ? `; ${nameFolder}: ${ignored.reason}` : modelHint(reference, models);
  return new SaladError(
    'MODEL_NOT_FOUND',
    `no bundle ${reference} in ${modelsDirectory} (there is ${existing}), and no bundle folder of that name${why}`,
  );
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Every folder of a models folder that may be intended as a bundle; by name, then version. */
async function listFolders(modelsDirectory: string): Promise<readonly Folder[]> {
  let names: readonly Dirent[];
  try {
    names = await readdir(modelsDirectory, { withFileTypes: true });
  } catch (error) {
    throw new SaladError(
      'CONFIGURATION_INVALID',
      `models folder ${modelsDirectory} cannot be read: ${systemReason(error)}`,
      { cause: error },
    );
  }
  const folders: Folder[] = [];
  if (names.some((entry) => entry.name === BUNDLE_FILES.manifest)) {
    const reason = 'it is a bundle itself, not a folder with NAME/VERSION/: give the folder two levels above';
    folders.push({ kind: 'ignored', directory: modelsDirectory, reason });
  }
  for (const entry of [...names].sort(byName)) {
    const directory = join(modelsDirectory, entry.name);
    if (entry.name.startsWith('..')) continue;
    const type = await typeOf(entry, directory);
    if (type === 'file') continue;
    if (!modelNameSchema.safeParse(entry.name).success) {
      folders.push({ kind: 'ignored', directory, reason: reasonNoName(entry.name) });
    } else if (typeof type !== 'string') {
      folders.push({ kind: 'refused', directory, model: undefined, error: type });
    } else {
      folders.push(...(await listVersions(entry.name, directory)));
    }
  }
  return folders;
}

async function listVersions(name: string, nameDirectory: string): Promise<readonly Folder[]> {
  let entries: readonly Dirent[];
  try {
    entries = await readdir(nameDirectory, { withFileTypes: true });
  } catch (error) {
    return [
      {
        kind: 'refused',
        directory: nameDirectory,
        model: undefined,
        error: unreadable(nameDirectory, error),
      },
    ];
  }
  const ignored: Folder[] = [];
  const versions: (Folder & { readonly version: number })[] = [];
  for (const entry of [...entries].sort(byName)) {
    const directory = join(nameDirectory, entry.name);
    if (entry.name.startsWith('..')) continue;
    const type = await typeOf(entry, directory);
    if (type === 'file') continue;
    const version = Number(entry.name);
    if (!/^[1-9]\d*$/.test(entry.name) || version > VERSION_MAX) {
      ignored.push({ kind: 'ignored', directory, reason: reasonNoVersion(entry.name) });
    } else if (typeof type !== 'string') {
      versions.push({
        kind: 'refused',
        directory,
        model: modelKey({ name, version }),
        error: type,
        version,
      });
    } else {
      versions.push({ kind: 'candidate', name, version, directory });
    }
  }
  if (entries.some((entry) => entry.name === BUNDLE_FILES.manifest)) {
    const reason = `it contains ${BUNDLE_FILES.manifest}, but a bundle must be in NAME/VERSION/ of the models folder`;
    ignored.push({ kind: 'ignored', directory: nameDirectory, reason });
  } else if (versions.length === 0) {
    ignored.push({ kind: 'ignored', directory: nameDirectory, reason: NO_VERSION });
  }
  return [...versions.sort((a, b) => a.version - b.version), ...ignored];
}

/** The type of an entry, or of the target of a link; an error where a link has no target. */
async function typeOf(entry: Dirent, path: string): Promise<'folder' | 'file' | SaladError> {
  if (entry.isDirectory()) return 'folder';
  if (!entry.isSymbolicLink()) return 'file';
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch (error) {
    return unreadable(path, error);
  }
}

const NO_VERSION = 'it holds no VERSION folder (1, 2, 3, ...), so there is no bundle NAME/VERSION/';

function reasonNoName(name: string): string {
  if (name.startsWith('.')) return 'its name is hidden';
  return 'its name is not that of a model (a-z, 0-9 and hyphens)';
}

function reasonNoVersion(name: string): string {
  if (name.startsWith('.')) return 'its name is hidden, as are leftovers of an interrupted write';
  return 'its name is not a version (1, 2, 3, ...)';
}

function byName(a: Dirent, b: Dirent): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
