/**
 * A model bundle: `models/<name>/<version>/` with manifest.json, weights.safetensors,
 * memory-bank.safetensors, golden.safetensors and MODEL_CARD.md.
 */
import { createHash } from 'node:crypto';
import {
  chmod,
  mkdir,
  mkdtemp,
  open,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { SaladError } from '../errors/index.js';
import { type Geometry, geometryOf } from '../geometry/geometry.js';
import type { NetworkDescription, Weights } from '../network/description.js';
import type { MemoryBank } from '../scoring/memory-bank.js';
import { type BundleContent, checkBundle, type GoldenBatch, invalidBundle, parseManifest } from './check.js';
import type { Manifest, ScoringSpec } from './manifest.js';
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

export const BUNDLE_FILES = {
  manifest: 'manifest.json',
  weights: 'weights.safetensors',
  bank: 'memory-bank.safetensors',
  golden: 'golden.safetensors',
  card: 'MODEL_CARD.md',
} as const;

/** Name and version of a model. */
export interface ModelIdentity {
  readonly name: string;
  readonly version: number;
}

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

/** Far above any manifest; the other files have their sizes in it. */
export const MANIFEST_BYTES_MAX = 64 * 1024 * 1024;
/** Bytes that are read and hashed at a time. */
const CHUNK_BYTES = 64 * 1024 * 1024;

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function unreadable(path: string, error: unknown): SaladError {
  return invalidBundle(`${path} cannot be read: ${(error as Error).message}`, error);
}

/** Bytes of a regular file: opening anything else may wait for ever. @throws SaladError BUNDLE_INVALID */
async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  if (!found.isFile()) throw invalidBundle(`${path} is not a file`);
  return found.size;
}

/** The first `size` bytes of a file, in shared memory. @param onChunk told of each part as it comes */
async function readShared(
  path: string,
  size: number,
  onChunk: (chunk: Uint8Array) => void,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(new SharedArrayBuffer(size));
  const handle = await open(path);
  try {
    for (let at = 0; at < size; ) {
      const { bytesRead } = await handle.read(bytes, at, Math.min(CHUNK_BYTES, size - at), at);
      if (bytesRead === 0) throw new Error(`it ends after ${at} of ${size} bytes`);
      onChunk(bytes.subarray(at, at + bytesRead));
      at += bytesRead;
    }
    return bytes;
  } finally {
    await handle.close();
  }
}

/** A file in shared memory. @throws SaladError BUNDLE_INVALID where it is not what the manifest lists. */
async function readListedFile(
  directory: string,
  file: string,
  expected: Manifest['files'][string],
): Promise<Uint8Array> {
  const path = join(directory, file);
  const size = await sizeOf(path);
  if (size !== expected.bytes) {
    throw invalidBundle(`${file} has ${size} bytes, the manifest says ${expected.bytes}`);
  }
  const hash = createHash('sha256');
  const bytes = await readShared(path, size, (chunk) => hash.update(chunk)).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  if (hash.digest('hex') !== expected.sha256) {
    throw invalidBundle(`${file} does not match the SHA-256 in the manifest`);
  }
  return bytes;
}

function parseJson(bytes: Uint8Array, path: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalidBundle(`${path} is not JSON`, error);
  }
}

/** @throws SaladError BUNDLE_INVALID where a listed file would lie elsewhere than beside the manifest. */
export function checkFileNames({ files }: Manifest): void {
  for (const file of Object.keys(files)) {
    if (file !== basename(file) || file === '..' || file === BUNDLE_FILES.manifest) {
      throw invalidBundle(`manifest.json: files.${file} is not the name of a file beside the manifest`);
    }
  }
}

/** All files the manifest lists, each checked against its size and hash before it is decoded. */
async function readListedFiles(
  directory: string,
  manifest: Manifest,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  checkFileNames(manifest);
  for (const [file, expected] of Object.entries(manifest.files)) {
    files.set(file, await readListedFile(directory, file, expected));
  }
  return files;
}

function required(files: ReadonlyMap<string, Uint8Array>, file: string): Uint8Array {
  const bytes = files.get(file);
  if (bytes === undefined) throw invalidBundle(`manifest.json: files.${file} is missing`);
  return bytes;
}

/**
 * @param expected what the folder's place in a models folder says it is
 * @throws SaladError BUNDLE_INVALID where there is no manifest, it is malformed, or names another model.
 */
export async function readManifest(
  directory: string,
  expected?: ModelIdentity,
): Promise<{ readonly manifest: Manifest; readonly sha256: string }> {
  const path = join(directory, BUNDLE_FILES.manifest);
  const size = await sizeOf(path);
  if (size > MANIFEST_BYTES_MAX) throw invalidBundle(`${path} is longer than ${MANIFEST_BYTES_MAX} bytes`);
  const bytes = await readFile(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  const manifest = parseManifest(parseJson(bytes, path));
  const { name, version } = manifest;
  if (expected !== undefined && (name !== expected.name || version !== expected.version)) {
    throw invalidBundle(
      `${directory} holds ${name}@${version} and not ${expected.name}@${expected.version}: ` +
        `a bundle is served only from the folder of its own name and version`,
    );
  }
  return { manifest, sha256: sha256Of(bytes) };
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
