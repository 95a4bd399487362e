/**
 * Finds model bundles: the only code that knows how a models folder is laid out.
 *
 * A bundle is served from `NAME/VERSION/` and only where its manifest says the same name and version, so that no two
 * bundles of one name and version can be found. NAME and VERSION may be links. Files, and what begins with two dots
 * (Kubernetes' `..data`), are not looked at.
 */
import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SaladError } from '../errors/index.js';
import { type Bundle, readBundle } from './bundle.js';
import { BUNDLE_FILES, type ModelIdentity, readManifest, unreadable } from './files.js';
import { modelNameSchema, VERSION_MAX } from './manifest.js';

/** A folder of a bundle's name and version; what is in it has not been looked at. */
interface Candidate extends ModelIdentity {
  readonly directory: string;
}

/** A folder in a place where only a bundle belongs, and it is none that can be served. */
export interface RefusedBundle {
  readonly kind: 'refused';
  readonly directory: string;
  /** `name@version` of the folder; undefined where a whole NAME folder cannot be read. */
  readonly model: string | undefined;
  /** BUNDLE_INVALID. */
  readonly error: SaladError;
}

/** A folder that is no NAME/VERSION: a copy, a leftover of an interrupted write, lost+found. */
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

/** What of a models folder is served, and what is not. */
export type Finding = FoundBundle | RefusedBundle | IgnoredFolder;

type Place = ({ readonly kind: 'candidate' } & Candidate) | RefusedBundle | IgnoredFolder;

/** `name@version`. */
export function modelKey({ name, version }: ModelIdentity): string {
  return `${name}@${version}`;
}

/**
 * Reads and checks every bundle of a models folder, one after another: by name, then version. What is not served comes
 * too, with the reason.
 * @throws SaladError CONFIGURATION_INVALID where the models folder itself cannot be read.
 */
export async function* openBundles(modelsDirectory: string): AsyncGenerator<Finding> {
  for (const place of await placesOf(modelsDirectory)) {
    if (place.kind !== 'candidate') {
      yield place;
      continue;
    }
    const { directory } = place;
    const model = modelKey(place);
    try {
      yield { kind: 'bundle', model, bundle: await readBundle(directory, place) };
    } catch (error) {
      yield { kind: 'refused', model, directory, error: SaladError.from(error) };
    }
  }
}

/**
 * @param wanted a bundle folder, wherever it lies; or `name` (its highest version) or `name@version` of a models folder
 * @returns the bundle's folder; of its content only the manifest was looked at
 * @throws SaladError MODEL_NOT_FOUND; BUNDLE_INVALID where the folder of that name and version holds another model;
 *   CONFIGURATION_INVALID where the models folder cannot be read
 */
export async function findBundle(modelsDirectory: string, wanted: string): Promise<string> {
  if (await exists(join(wanted, BUNDLE_FILES.manifest))) return wanted;
  const [name, version] = wanted.split('@');
  const candidates = (await placesOf(modelsDirectory)).filter((place) => place.kind === 'candidate');
  const versions = candidates.filter((candidate) => candidate.name === name);
  if (version !== undefined) {
    const exact = versions.find((candidate) => String(candidate.version) === version);
    if (exact === undefined) throw notFound(modelsDirectory, wanted, candidates);
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
  throw notFound(modelsDirectory, wanted, candidates);
}

function notFound(modelsDirectory: string, wanted: string, candidates: readonly Candidate[]): SaladError {
  const here = candidates.map(modelKey).join(', ') || 'nothing';
  return new SaladError(
    'MODEL_NOT_FOUND',
    `no bundle ${wanted} in ${modelsDirectory} (there is ${here}), and no bundle folder of that name`,
  );
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Every folder of a models folder that is or could be meant as a bundle; by name, then version. */
async function placesOf(modelsDirectory: string): Promise<readonly Place[]> {
  let names: readonly Dirent[];
  try {
    names = await readdir(modelsDirectory, { withFileTypes: true });
  } catch (error) {
    const why = (error as Error).message;
    throw new SaladError('CONFIGURATION_INVALID', `models folder ${modelsDirectory} cannot be read: ${why}`, {
      cause: error,
    });
  }
  const places: Place[] = [];
  for (const entry of [...names].sort(byName)) {
    const directory = join(modelsDirectory, entry.name);
    if (entry.name.startsWith('..')) continue;
    const folder = await followed(entry, directory);
    if (folder === 'file') continue;
    if (!modelNameSchema.safeParse(entry.name).success) {
      places.push({ kind: 'ignored', directory, reason: whyNoName(entry.name) });
    } else if (typeof folder !== 'string') {
      places.push({ kind: 'refused', directory, model: undefined, error: folder });
    } else {
      places.push(...(await versionsOf(entry.name, directory)));
    }
  }
  return places;
}

async function versionsOf(name: string, nameDirectory: string): Promise<readonly Place[]> {
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
  const ignored: Place[] = [];
  const versions: (Place & { readonly version: number })[] = [];
  for (const entry of [...entries].sort(byName)) {
    const directory = join(nameDirectory, entry.name);
    if (entry.name.startsWith('..')) continue;
    const folder = await followed(entry, directory);
    if (folder === 'file') continue;
    const version = Number(entry.name);
    if (!/^[1-9]\d*$/.test(entry.name) || version > VERSION_MAX) {
      ignored.push({ kind: 'ignored', directory, reason: whyNoVersion(entry.name) });
    } else if (typeof folder !== 'string') {
      versions.push({
        kind: 'refused',
        directory,
        model: modelKey({ name, version }),
        error: folder,
        version,
      });
    } else {
      versions.push({ kind: 'candidate', name, version, directory });
    }
  }
  if (entries.some((entry) => entry.name === BUNDLE_FILES.manifest)) {
    const reason = `${BUNDLE_FILES.manifest} lies in it: a bundle lies in NAME/VERSION/ of the models folder`;
    ignored.push({ kind: 'ignored', directory: nameDirectory, reason });
  }
  return [...versions.sort((a, b) => a.version - b.version), ...ignored];
}

/** What an entry is, links followed; an error where a link leads nowhere. */
async function followed(entry: Dirent, path: string): Promise<'folder' | 'file' | SaladError> {
  if (entry.isDirectory()) return 'folder';
  if (!entry.isSymbolicLink()) return 'file';
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch (error) {
    return unreadable(path, error);
  }
}

function whyNoName(name: string): string {
  if (name.startsWith('.')) return 'its name is hidden';
  return 'its name is not that of a model (a-z, 0-9 and hyphens)';
}

function whyNoVersion(name: string): string {
  if (name.startsWith('.')) return 'its name is hidden, as are leftovers of an interrupted write';
  return 'its name is not a version (1, 2, 3, ...)';
}

function byName(a: Dirent, b: Dirent): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
