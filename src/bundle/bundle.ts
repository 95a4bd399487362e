/**
 * Reads and writes a model bundle: `models/<name>/<version>/` with manifest.json, weights.safetensors,
 * memory-bank.safetensors, golden.safetensors and MODEL_CARD.md.
 */
import { chmod, mkdir, mkdtemp, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type Geometry, geometryOf } from '../geometry/geometry.js';
import type { ScoringSpec } from '../geometry/specifications.js';
import type { NetworkDescription, Weights } from '../network/description.js';
import type { MemoryBank } from '../scoring/memory-bank.js';
import type { PlausibilityGate, PlausibilityTensors } from '../scoring/plausibility.js';
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
  decodePlausibility,
  decodeWeights,
  encodeBank,
  encodeGolden,
  encodePlausibility,
  encodeWeights,
  roundBankForStorage,
  roundWeightsForStorage,
  type StoragePrecision,
} from './tensors.js';

export { BUNDLE_FILES, type ModelIdentity } from './files.js';

/**
 * A checked bundle in memory. It is an EngineModelSource, which engines load directly.
 *
 * Its arrays are views of shared memory: a structured clone of a Bundle in a worker thread has the same weights and
 * memory bank, not a copy. They must not be written to.
 */
export interface Bundle {
  /** Absolute path, links not resolved. */
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
  /** Absent: the model accepts every image. */
  readonly plausibility?: PlausibilityGate;
}

/** The content of a bundle before it is written; the rest of the manifest is computed from it. */
export interface BundleDraft {
  readonly manifest: Omit<Manifest, 'schemaVersion' | 'bank' | 'files'>;
  /** Where `storage` has F16, already rounded by `roundWeightsForStorage`. */
  readonly weights: Weights;
  /** Where `storage` has F16, already rounded by `roundBankForStorage`. */
  readonly bank: MemoryBank;
  readonly golden: GoldenBatch;
  /** Tensors of the manifest's `plausibility`. */
  readonly plausibility?: PlausibilityTensors;
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
 * Reads, hashes and checks a bundle. Links are resolved once, at the start: where a link is switched meanwhile
 * (git-sync, Kubernetes' ..data), the result is the old bundle or the new one, never a mixture.
 * @param expected the name and version of the folder in a models folder
 * @throws SaladError BUNDLE_INVALID where the bundle is incomplete, inconsistent, fails its hashes or has another name
 *   or version than `expected`.
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
    ...(manifest.plausibility === undefined
      ? {}
      : {
          plausibility: decodePlausibility(
            required(files, BUNDLE_FILES.plausibility),
            BUNDLE_FILES.plausibility,
          ),
        }),
  };
  const geometry = checkBundle(content);
  const { plausibility: tensors, ...others } = content;
  const spec = manifest.plausibility;
  return {
    ...others,
    ...(spec && tensors ? { plausibility: { spec, tensors } } : {}),
    directory: resolve(directory),
    sha256,
    geometry,
    network: manifest.network,
    search: { bank: content.bank, scoring: manifest.scoring },
  };
}

/** Refuses values that F16 storage would change: calibration and golden scores were computed with them. */
function checkRounded(draft: BundleDraft, storage: StoragePrecision): void {
  const weights = roundWeightsForStorage(draft.weights, storage);
  for (const [name, { data }] of draft.weights) {
    const stored = weights.get(name)!.data;
    if (!data.every((value, index) => value === stored[index])) {
      throw invalidBundle(
        `weight ${name} is to be stored as F16: round it with roundWeightsForStorage before use`,
      );
    }
  }
  const bank = roundBankForStorage(draft.bank, storage);
  if (!draft.bank.prototypes.every((value, index) => value === bank.prototypes[index])) {
    throw invalidBundle('the bank is to be stored as F16: round it with roundBankForStorage before use');
  }
}

/** All files but the manifest, by name. */
function encodeFiles(draft: BundleDraft, storage: StoragePrecision): ReadonlyMap<string, Uint8Array> {
  const { input, tiling } = draft.manifest;
  return new Map([
    [BUNDLE_FILES.weights, encodeWeights(draft.weights, storage)],
    [BUNDLE_FILES.bank, encodeBank(draft.bank, storage)],
    [BUNDLE_FILES.golden, encodeGolden(draft.golden, geometryOf(input, tiling))],
    [BUNDLE_FILES.card, new TextEncoder().encode(draft.modelCard)],
    ...(draft.plausibility === undefined
      ? []
      : [[BUNDLE_FILES.plausibility, encodePlausibility(draft.plausibility)] as const]),
  ]);
}

/**
 * Moves a finished folder to the place of an older one, if there is one, and deletes the older one last. A process
 * killed in between leaves hidden folders, which no server serves, and perhaps no bundle, but never two of one name and
 * version.
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
 * Checks the draft, writes it into a temporary folder beside `directory` (the manifest last), reads that folder back
 * with all checks, and renames it to `directory`.
 * @throws SaladError BUNDLE_INVALID where the content is inconsistent or was not rounded for storage.
 */
export async function writeBundle(directory: string, draft: BundleDraft): Promise<Bundle> {
  const storage = draft.storage ?? {};
  const target = resolve(directory);
  const { rows, dimension } = draft.bank;
  checkRounded(draft, storage);
  const files = encodeFiles(draft, storage);
  const listed = [...files].map(([file, bytes]) => [file, { sha256: sha256Of(bytes), bytes: bytes.length }]);
  const manifest = parseManifest({
    schemaVersion: 1,
    ...draft.manifest,
    bank: { rows, dimension },
    files: Object.fromEntries(listed),
  });
  const { weights, bank, golden, plausibility } = draft;
  checkBundle({ manifest, weights, bank, golden, ...(plausibility ? { plausibility } : {}) });
  await mkdir(dirname(target), { recursive: true });
  const temporary = await mkdtemp(join(dirname(target), `.${basename(target)}-`));
  // mkdtemp gives access to this user only; other users may have to read a bundle.
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
