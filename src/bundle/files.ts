/** Reads the files of a bundle into shared memory and checks their hashes, before anything is decoded. */
import { createHash } from 'node:crypto';
import { open, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type SaladError, systemReason } from '../errors/index.js';
import { invalidBundle, parseManifest } from './check.js';
import type { Manifest } from './manifest.js';

export const BUNDLE_FILES = {
  manifest: 'manifest.json',
  weights: 'weights.safetensors',
  bank: 'memory-bank.safetensors',
  golden: 'golden.safetensors',
  /** Only where the manifest has `plausibility`. */
  plausibility: 'plausibility.safetensors',
  card: 'MODEL_CARD.md',
} as const;

/** Name and version of a model. */
export interface ModelIdentity {
  readonly name: string;
  readonly version: number;
}

/** Far above any manifest. The sizes of the other files are listed in the manifest. */
export const MANIFEST_BYTES_MAX = 64 * 1024 * 1024;
/** Bytes that are read and hashed at a time. */
const READ_BYTES = 64 * 1024 * 1024;

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function unreadable(path: string, error: unknown): SaladError {
  return invalidBundle(`${path} cannot be read: ${systemReason(error)}`, error);
}

/**
 * Size of a regular file in bytes. Anything else is refused: opening a named pipe, for example, may never return.
 * @throws SaladError BUNDLE_INVALID
 */
async function sizeOf(path: string): Promise<number> {
  const stats = await stat(path).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  if (!stats.isFile()) throw invalidBundle(`${path} is not a file`);
  return stats.size;
}

/** The first `size` bytes of a file, in shared memory. @param onRead called with the bytes of each read */
async function readShared(
  path: string,
  size: number,
  onRead: (bytes: Uint8Array) => void,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(new SharedArrayBuffer(size));
  const handle = await open(path);
  try {
    for (let at = 0; at < size; ) {
      const { bytesRead } = await handle.read(bytes, at, Math.min(READ_BYTES, size - at), at);
      if (bytesRead === 0) throw new Error(`it ends after ${at} of ${size} bytes`);
      onRead(bytes.subarray(at, at + bytesRead));
      at += bytesRead;
    }
    return bytes;
  } finally {
    await handle.close();
  }
}

/**
 * Reads a file into shared memory.
 * @throws SaladError BUNDLE_INVALID where its size or hash differs from the manifest
 */
async function readListedFile(
  directory: string,
  file: string,
  expected: Manifest['files'][string],
): Promise<Uint8Array> {
  const path = join(directory, file);
  const size = await sizeOf(path);
  checkSize(file, size, expected);
  const hash = createHash('sha256');
  const bytes = await readShared(path, size, (read) => hash.update(read)).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  if (hash.digest('hex') !== expected.sha256) {
    throw invalidBundle(`${file} does not match the SHA-256 in the manifest`);
  }
  return bytes;
}

/**
 * @param path for messages
 * @throws SaladError BUNDLE_INVALID where the bytes are not the JSON of a manifest.
 */
export function decodeManifest(bytes: Uint8Array, path: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalidBundle(`${path} is not JSON`, error);
  }
  return parseManifest(value);
}

/** @throws SaladError BUNDLE_INVALID where the path of a listed file leads out of the manifest's folder. */
export function checkFileNames({ files }: Manifest): void {
  for (const file of Object.keys(files)) {
    if (file !== basename(file) || file === '..' || file === BUNDLE_FILES.manifest) {
      throw invalidBundle(`manifest.json: files.${file} is not the name of a file beside the manifest`);
    }
  }
}

/**
 * Checks that all files that the manifest lists exist in their sizes, without reading them.
 * @throws SaladError BUNDLE_INVALID
 */
export async function checkFileSizes(directory: string, { files }: Manifest): Promise<void> {
  for (const [file, expected] of Object.entries(files)) {
    checkSize(file, await sizeOf(join(directory, file)), expected);
  }
}

function checkSize(file: string, size: number, expected: Manifest['files'][string]): void {
  if (size !== expected.bytes) {
    throw invalidBundle(`${file} has ${size} bytes, the manifest says ${expected.bytes}`);
  }
}

/** Reads all files that the manifest lists, and checks their sizes and hashes. */
export async function readListedFiles(
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

/**
 * Reads manifest.json and computes its hash.
 * @param expected the name and version of the folder in a models folder
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
  const manifest = decodeManifest(bytes, path);
  const { name, version } = manifest;
  if (expected !== undefined && (name !== expected.name || version !== expected.version)) {
    throw invalidBundle(
      `${directory} holds ${name}@${version} and not ${expected.name}@${expected.version}: ` +
        `a bundle is served only from the folder of its own name and version`,
    );
  }
  return { manifest, sha256: sha256Of(bytes) };
}
