/** `salad models fetch`: a bundle from a plain HTTP folder into the models folder, pinned by its hash. */
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readBundle, replaceDirectory } from '../../bundle/bundle.js';
import {
  BUNDLE_FILES,
  checkFileNames,
  decodeManifest,
  MANIFEST_BYTES_MAX,
  sha256Of,
} from '../../bundle/files.js';
import { modelKey } from '../../bundle/repository.js';
import { SaladError } from '../../errors/index.js';

export interface FetchRequest {
  /** Folder of the bundle's files: `<url>/manifest.json` and what that lists. */
  readonly url: string;
  /** SHA-256 of manifest.json, hexadecimal: `salad models inspect` prints it. It pins all other files too. */
  readonly sha256: string;
  /** Folder of bundles; the bundle goes to `<name>/<version>/` in it. */
  readonly models: string;
}

export interface FetchedBundle {
  readonly model: string;
  readonly directory: string;
  /** False where the same bundle lay there already. */
  readonly isNew: boolean;
}

/**
 * Nothing is seen under the bundle's own name before all of it is there and checked.
 * @throws SaladError BUNDLE_INVALID for other content than the hash says, MODEL_NOT_FOUND where the server has no such file
 */
export async function fetchBundle(request: FetchRequest): Promise<FetchedBundle> {
  const base = request.url.endsWith('/') ? request.url : `${request.url}/`;
  const bytes = await download(new URL(BUNDLE_FILES.manifest, base), MANIFEST_BYTES_MAX);
  const sha256 = sha256Of(bytes);
  if (sha256 !== request.sha256) {
    throw new SaladError(
      'BUNDLE_INVALID',
      `${base}manifest.json has SHA-256 ${sha256}, not ${request.sha256}`,
    );
  }
  const manifest = decodeManifest(bytes, `${base}${BUNDLE_FILES.manifest}`);
  checkFileNames(manifest);
  const model = modelKey(manifest);
  const directory = join(request.models, manifest.name, String(manifest.version));
  if (await isThere(directory, sha256)) return { model, directory, isNew: false };
  await mkdir(dirname(directory), { recursive: true });
  const partial = await mkdtemp(join(dirname(directory), '.fetch-'));
  // mkdtemp makes it private; a bundle is read by whoever serves it.
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

async function isThere(directory: string, sha256: string): Promise<boolean> {
  try {
    return (await readBundle(directory)).sha256 === sha256;
  } catch {
    return false;
  }
}

/** @param bytesMax where the answer is longer it is given up, whatever its header said */
async function download(url: URL, bytesMax: number): Promise<Uint8Array> {
  const answer = await fetch(url).catch((error: unknown) => {
    throw new SaladError('MODEL_NOT_FOUND', `${url.href} cannot be reached`, { cause: error });
  });
  if (!answer.ok || answer.body === null) {
    await answer.body?.cancel();
    throw new SaladError('MODEL_NOT_FOUND', `${url.href}: HTTP ${answer.status}`);
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of answer.body) {
    length += chunk.length;
    if (length > bytesMax)
      throw new SaladError('BUNDLE_INVALID', `${url.href} is longer than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}
