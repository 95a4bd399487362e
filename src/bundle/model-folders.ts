/**
 * Lists the folders that may hold a model bundle. No other code depends on the layout of a models folder.
 *
 * A models folder holds bundles in `NAME/VERSION/`; a folder with a manifest at its root is one bundle itself. NAME and
 * VERSION may be links. Files, and names that begin with two dots (Kubernetes' `..data`), are skipped.
 */
import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SaladError, systemReason } from '../errors/index.js';
import { BUNDLE_FILES, type ModelIdentity, readManifest, unreadable } from './files.js';
import { modelNameSchema, VERSION_MAX } from './manifest.js';

/** The folder of one version, whose content has not been read. */
export interface Candidate extends ModelIdentity {
  readonly kind: 'candidate';
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

export type ModelFolder = Candidate | RefusedBundle | IgnoredFolder;

/** `name@version`. */
export function modelKey({ name, version }: ModelIdentity): string {
  return `${name}@${version}`;
}

/**
 * Lists the models folders and single bundles of `directories`, in their order; in a models folder by name, then
 * version. Of two folders with the same name and version the second is ignored.
 * @throws SaladError CONFIGURATION_INVALID where one of `directories` cannot be read
 */
export async function listModelFolders(directories: readonly string[]): Promise<readonly ModelFolder[]> {
  const found = new Map<string, string>();
  const folders: ModelFolder[] = [];
  for (const directory of directories) {
    const listed = (await isBundle(directory))
      ? [await singleBundle(directory)]
      : await listFolders(directory);
    for (const folder of listed) {
      if (folder.kind !== 'candidate') {
        folders.push(folder);
        continue;
      }
      const key = modelKey(folder);
      const first = found.get(key);
      if (first === undefined) folders.push(folder);
      else
        folders.push({ kind: 'ignored', directory: folder.directory, reason: `${key} is also in ${first}` });
      found.set(key, first ?? folder.directory);
    }
  }
  return folders;
}

/** Whether the folder has a manifest at its root. */
export async function isBundle(directory: string): Promise<boolean> {
  return stat(join(directory, BUNDLE_FILES.manifest)).then(
    () => true,
    () => false,
  );
}

/** Its name and version are those of the manifest, whatever the folder is called. */
async function singleBundle(directory: string): Promise<ModelFolder> {
  try {
    const { name, version } = (await readManifest(directory)).manifest;
    return { kind: 'candidate', name, version, directory };
  } catch (error) {
    return { kind: 'refused', directory, model: undefined, error: SaladError.from(error) };
  }
}

/** Every folder of a models folder that may be intended as a bundle; by name, then version. */
async function listFolders(modelsDirectory: string): Promise<readonly ModelFolder[]> {
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
  const folders: ModelFolder[] = [];
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

async function listVersions(name: string, nameDirectory: string): Promise<readonly ModelFolder[]> {
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
  const ignored: ModelFolder[] = [];
  const versions: (ModelFolder & { readonly version: number })[] = [];
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
