/**
 * A model bundle: `models/<name>/<version>/` with manifest.json, weights.safetensors,
 * memory-bank.safetensors, golden.safetensors and MODEL_CARD.md.
 */
import { chmod, mkdir, mkdtemp, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type Geometry, geometryOf } from '../geometry/geometry.js';
import type { ScoringSpec } from '../geometry/specifications.js';
import type { NetworkDescription, Weights } from '../network/description.js';
import type { MemoryBank } from '../scoring/memory-bank.js';
import { type BundleContent, checkBundle, type GoldenBatch, invalidBundle, parseManifest } from './check.js';
import {
  BUNDLE_FILES,
  type ModelIdentity,
  readListedFiles,
  readManifest,
  sha256Of,
  unreadable,
} from './files.js';
import type { Manifest } from './manifest.js';
import {
  decodeBank,
  decodeGolden,
  decodeWeights,
  encodeBank,
  encodeGolden,
  encodeWeights,
  quantizeBank,
  quantizeWeights,
  type StoragePrecision,
} from './tensors.js';

export { BUNDLE_FILES, type ModelIdentity } from './files.js';

/**
 * A checked bundle in memory. It is an EngineModelSource: engines load it as it is.
 *
 * Its arrays are views of shared memory: a worker thread that is given a Bundle (structured clone) has the same
 * weights and memory bank, not a copy. Nobody writes to them.
 */
export interface Bundle {
  /** Absolute path as it was given, links not resolved. */
  readonly directory: string;
  readonly manifest: Manifest;
  /** SHA-256 of manifest.json, which holds the hashes of all other files: the identity of the bundle. */
  readonly sha256: string;
  readonly geometry: Geometry;
  readonly network: NetworkDescription;
  readonly weights: Weights;
  readonly bank: MemoryBank;
  readonly golden: GoldenBatch;
  readonly search: { readonly bank: MemoryBank; readonly scoring: ScoringSpec };
}

/** What a trainer hands over; the rest of the manifest follows from it. */
export interface BundleParts {
  readonly manifest: Omit<Manifest, 'schemaVersion' | 'bank' | 'files'>;
  /** Already rounded by `quantizeWeights` where `storage` says so. */
  readonly weights: Weights;
  /** Already rounded by `quantizeBank` where `storage` says so. */
  readonly bank: MemoryBank;
  readonly golden: GoldenBatch;
  /** Markdown. */
  readonly modelCard: string;
  readonly storage?: StoragePrecision;
}

function required(files: ReadonlyMap<string, Uint8Array>, file: string): Uint8Array {
  const bytes = files.get(file);
  if (bytes === undefined) throw invalidBundle(`manifest.json: files.${file} is missing`);
  return bytes;
}

/**
 * Reads, hashes and checks a bundle. Links are followed once, at the start: a folder that is switched meanwhile
 * (git-sync, Kubernetes' ..data) gives the old bundle or the new one.
 * @param expected what the folder's place in a models folder says it is
 * @throws SaladError BUNDLE_INVALID where the bundle is incomplete, inconsistent, fails its hashes or is another one.
 */
export async function readBundle(directory: string, expected?: ModelIdentity): Promise<Bundle> {
  const folder = await realpath(directory).catch((error: unknown) => {
    throw unreadable(directory, error);
  });
  const { manifest, sha256 } = await readManifest(folder, expected);
  const files = await readListedFiles(folder, manifest);
  required(files, BUNDLE_FILES.card);
  const content: BundleContent = {
    manifest,
    weights: decodeWeights(required(files, BUNDLE_FILES.weights), BUNDLE_FILES.weights),
    bank: decodeBank(required(files, BUNDLE_FILES.bank), BUNDLE_FILES.bank),
    golden: decodeGolden(required(files, BUNDLE_FILES.golden), BUNDLE_FILES.golden),
  };
  const geometry = checkBundle(content);
  return {
    ...content,
    directory: resolve(directory),
    sha256,
    geometry,
    network: manifest.network,
    search: { bank: content.bank, scoring: manifest.scoring },
  };
}

/** Refuses values that storing would change: calibration and golden scores were computed with them. */
function checkRounded(parts: BundleParts, storage: StoragePrecision): void {
  const weights = quantizeWeights(parts.weights, storage);
  for (const [name, { data }] of parts.weights) {
    const stored = weights.get(name)!.data;
    if (!data.every((value, index) => value === stored[index])) {
      throw invalidBundle(`weight ${name} is to be stored as F16: round it with quantizeWeights before use`);
    }
  }
  const bank = quantizeBank(parts.bank, storage);
  if (!parts.bank.prototypes.every((value, index) => value === bank.prototypes[index])) {
    throw invalidBundle('the bank is to be stored as F16: round it with quantizeBank before use');
  }
}

function encodeParts(parts: BundleParts, storage: StoragePrecision): ReadonlyMap<string, Uint8Array> {
  const { input, tiling } = parts.manifest;
  return new Map([
    [BUNDLE_FILES.weights, encodeWeights(parts.weights, storage)],
    [BUNDLE_FILES.bank, encodeBank(parts.bank, storage)],
    [BUNDLE_FILES.golden, encodeGolden(parts.golden, geometryOf(input, tiling))],
    [BUNDLE_FILES.card, new TextEncoder().encode(parts.modelCard)],
  ]);
}

/**
 * Puts a finished folder in the place of another one, which is kept under a hidden name until then. A process killed in
 * between leaves hidden folders, which nobody serves, and perhaps no bundle: never two of one name and version.
 */
export async function replaceDirectory(from: string, to: string): Promise<void> {
  const old = `${from}.old`;
  const hadOld = await rename(to, old).then(
    () => true,
    () => false,
  );
  try {
    await rename(from, to);
  } catch (error) {
    if (hadOld) await rename(old, to);
    throw error;
  }
  if (hadOld) await rm(old, { recursive: true, force: true });
}

/**
 * Checks the parts, writes them into a temporary folder beside `directory` (the manifest last), reads that
 * back with all checks, and renames it.
 * @throws SaladError BUNDLE_INVALID where the parts do not fit each other or were not rounded for storage.
 */
export async function writeBundle(directory: string, parts: BundleParts): Promise<Bundle> {
  const storage = parts.storage ?? {};
  const target = resolve(directory);
  const { rows, dimension } = parts.bank;
  checkRounded(parts, storage);
  const files = encodeParts(parts, storage);
  const listed = [...files].map(([file, bytes]) => [file, { sha256: sha256Of(bytes), bytes: bytes.length }]);
  const manifest = parseManifest({
    schemaVersion: 1,
    ...parts.manifest,
    bank: { rows, dimension },
    files: Object.fromEntries(listed),
  });
  checkBundle({ manifest, weights: parts.weights, bank: parts.bank, golden: parts.golden });
  await mkdir(dirname(target), { recursive: true });
  const temporary = await mkdtemp(join(dirname(target), `.${basename(target)}-`));
  // mkdtemp makes it private; a bundle is read by whoever serves it.
  await chmod(temporary, 0o755);
  try {
    for (const [file, bytes] of files) await writeFile(join(temporary, file), bytes);
    await writeFile(join(temporary, BUNDLE_FILES.manifest), `${JSON.stringify(manifest, null, 1)}\n`);
    const bundle = await readBundle(temporary);
    await replaceDirectory(temporary, target);
    return { ...bundle, directory: target };
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}
