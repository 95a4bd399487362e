/** Makes a models folder from one bundle folder, for a server that serves only this bundle. */
import { copyFile, mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { readBundle } from '../../bundle/bundle.js';

export interface BundleFolder {
  readonly name: string;
  readonly version: number;
  /** Hexadecimal. */
  readonly sha256: string;
  /**
   * Creates a temporary models folder that holds only this bundle: `<name>/<version>/` with links to its files.
   * @returns the path; the caller removes the folder
   */
  createModelsFolder(): Promise<string>;
}

/** @throws SaladError BUNDLE_INVALID */
export async function openBundleFolder(folder: string): Promise<BundleFolder> {
  const { manifest, sha256 } = await readBundle(folder);
  const { name, version } = manifest;
  return {
    name,
    version,
    sha256,
    async createModelsFolder() {
      const models = await mkdtemp(join(tmpdir(), 'salad-models-'));
      try {
        const bundle = join(models, name, String(version));
        await mkdir(bundle, { recursive: true });
        for (const entry of await readdir(folder, { withFileTypes: true })) {
          if (!entry.isDirectory()) await linkOrCopy(resolve(folder, entry.name), join(bundle, entry.name));
        }
      } catch (error) {
        await rm(models, { recursive: true, force: true });
        throw error;
      }
      return models;
    },
  };
}

/** Copies the file where a link cannot be created: on Windows most users may not create links. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  await symlink(from, to).catch(() => copyFile(from, to));
}
