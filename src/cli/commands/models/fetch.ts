/** `salad models fetch`: downloads a bundle from an HTTP folder into the models folder and checks its hash. */
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readBundle, replaceDirectory } from '../../../bundle/bundle.js';
import {
  BUNDLE_FILES,
  checkFileNames,
  decodeManifest,
  MANIFEST_BYTES_MAX,
  sha256Of,
} from '../../../bundle/files.js';
import { modelKey } from '../../../bundle/repository.js';
import { SaladError } from '../../../errors/index.js';

export interface FetchRequest {
  /** Folder of the bundle's files: `<url>/manifest.json` and the files that it lists. */
  readonly url: string;
  /** SHA-256 of manifest.json, hexadecimal, as `salad models inspect` prints it. The manifest has the other hashes. */
  readonly sha256: string;
  /** Folder of bundles; the bundle goes to `<name>/<version>/` in it. */
  readonly models: string;
}

export interface FetchedBundle {
  readonly model: string;
  readonly directory: string;
  /** False if the same bundle was there already. */
  readonly isNew: boolean;
}

/**
 * Downloads into a temporary folder and renames it only after all files are complete and checked, so that readers
 * never find a partial bundle under its own name.
 * @throws SaladError BUNDLE_INVALID if the content does not match the hash, MODEL_NOT_FOUND if a file cannot be fetched
 */
export async function fetchBundle(request: FetchRequest): Promise<FetchedBundle> {
  const base = request.url.endsWith('/') ? request.url : `${request.url}/`;
  const bytes = await download(new URL(BUNDLE_FILES.manifest, base), MANIFEST_BYTES_MAX);
  const sha256 = sha256Of(bytes);
  if (sha256 !== request.sha256) {
    throw new SaladError(
      'BUNDLE_INVALID',
      `${base}manifest.json has SHA-256 ${sha256}, not ${request.sha256}: check --sha256 and the address`,
    );
  }
  const manifest = decodeManifest(bytes, `${base}${BUNDLE_FILES.manifest}`);
  checkFileNames(manifest);
  const model = modelKey(manifest);
  const directory = join(request.models, manifest.name, String(manifest.version));
  if (await hasBundle(directory, sha256)) return { model, directory, isNew: false };
  await mkdir(dirname(directory), { recursive: true });
  const partial = await mkdtemp(join(dirname(directory), '.fetch-'));
  // mkdtemp creates a private folder, but the user that runs the server must be able to read the bundle.
  await chmod(partial, 0o755);
  try {
    await writeFile(join(partial, BUNDLE_FILES.manifest), bytes);
    for (const [file, { bytes: length }] of Object.entries(manifest.files)) {
      await writeFile(join(partial, file), await download(new URL(file, base), length));
    }
    await readBundle(partial);
    await replaceDirectory(partial, directory);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
  return { model, directory, isNew: true };
}

async function hasBundle(directory: string, sha256: string): Promise<boolean> {
  try {
    return (await readBundle(directory)).sha256 === sha256;
  } catch {
    return false;
  }
}

/**
 * @param bytesMax limit of the body; a longer one is refused, whatever length its header announced
 * @throws SaladError MODEL_NOT_FOUND, BUNDLE_INVALID
 */
async function download(url: URL, bytesMax: number): Promise<Uint8Array> {
  const response = await fetch(url).catch((error: unknown) => {
    throw new SaladError('MODEL_NOT_FOUND', `${url.href} cannot be reached: check the address`, {
      cause: error,
    });
  });
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new SaladError('MODEL_NOT_FOUND', `${url.href}: HTTP ${response.status}`);
  }
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body) {
    length += part.length;
    if (length > bytesMax)
      throw new SaladError('BUNDLE_INVALID', `${url.href} is longer than ${bytesMax} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts, length);
}
