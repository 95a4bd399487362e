/** The kinds of acquisitions of a load: models, priorities and what is sent. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { LoadFile, LoadKind } from '../../../../clients/load/src/index.js';
import { type Model, Priority } from '../../../../clients/typescript/src/index.js';
import { openImageFile } from '../../../dicom/decoder/image-file.js';
import { isDicom } from '../../../dicom/recognise.js';
import { SaladError } from '../../../errors/index.js';
import { makePhantom } from '../../../phantom/phantom.js';
import { imageFormatOf } from '../../../wire/image-format.js';
import { findImageFiles } from '../../shared/image-files.js';
import { chooseModel, type ModelChoice } from '../../shared/session.js';
import type { LoadFlags, LoadMode, MixEntry } from './flags.js';

const PRIORITIES = {
  stat: Priority.PRIORITY_STAT,
  routine: Priority.PRIORITY_ROUTINE,
  background: Priority.PRIORITY_BACKGROUND,
};

/** Of a message of rows or of tiles. */
const PER_MESSAGE = 16;
const FILE_PIXELS_MAX = 2 ** 30;

/**
 * @param model the model of --model
 * @param served the loaded models
 * @throws SaladError CONFIGURATION_INVALID, MODEL_NOT_FOUND, and of a file that cannot be read
 */
export async function readKinds(
  flags: LoadFlags,
  model: ModelChoice,
  served: readonly Model[],
  signal: AbortSignal,
): Promise<readonly LoadKind[]> {
  const loaded = served.map(({ identity }) => `${identity?.name}@${identity?.version}`);
  const entries: readonly (Omit<MixEntry, 'model'> & { readonly model: ModelChoice })[] =
    flags.mix === undefined
      ? [{ model, priority: flags.priority, weight: 1 }]
      : flags.mix.map((entry) => ({ ...entry, model: chooseModel(entry.model, loaded) }));
  const workloads = new Map<LoadMode, LoadKind['workload']>();
  const kinds: LoadKind[] = [];
  for (const { mode = modeOf(flags), priority, weight, ...entry } of entries) {
    const workload = workloads.get(mode) ?? (await readWorkload(flags, mode, signal));
    workloads.set(mode, workload);
    kinds.push({ model: entry.model, priority: PRIORITIES[priority], weight, workload });
  }
  return kinds;
}

/** Files are sent whole by default, a synthetic image as tiles. */
export function modeOf(flags: LoadFlags): LoadMode {
  return flags.mode ?? (flags.files === undefined ? 'tiles' : 'image');
}

async function readWorkload(
  flags: LoadFlags,
  mode: LoadMode,
  signal: AbortSignal,
): Promise<LoadKind['workload']> {
  const pace = { rowsPerMessage: PER_MESSAGE, acquisitionMs: mode === 'image' ? 0 : flags.acquisitionMs };
  if (flags.files !== undefined) {
    if (mode === 'tiles') {
      throw new SaladError(
        'CONFIGURATION_INVALID',
        'files are sent with --mode image or rows: tiles depend on the model',
      );
    }
    return { mode, files: await readFiles(flags.files, mode, signal), ...pace };
  }
  const { size } = flags;
  // A phantom has the contrast of anatomy, so that tiles are scored and not skipped as background.
  const phantom = makePhantom({ seed: flags.seed, size });
  const pixels = Uint8Array.from(phantom.samples, (sample) => sample >> 4);
  if (mode === 'image') {
    const format = { rows: size, columns: size, bitsAllocated: 8 };
    return { mode, files: [{ name: '', data: { raw: pixels }, format }], ...pace };
  }
  return { mode, size, pixels, tilesPerMessage: PER_MESSAGE, ...pace };
}

/** Reads all files before the load, so that the disk is no part of the measurement. */
async function readFiles(
  paths: readonly string[],
  mode: 'image' | 'rows',
  signal: AbortSignal,
): Promise<readonly LoadFile[]> {
  const found = await findImageFiles(paths, false);
  const [failure] = found.failures;
  if (failure !== undefined) throw fileError(failure.path, failure.error);
  const files: LoadFile[] = [];
  for (const path of found.files) {
    try {
      files.push(...(await readLoadFile(path, mode, signal)));
    } catch (error) {
      throw fileError(path, error);
    }
  }
  return files;
}

function fileError(path: string, error: unknown): SaladError {
  const message = error instanceof Error ? error.message : String(error);
  return new SaladError('CONFIGURATION_INVALID', `--files ${path}: ${message}`, { cause: error });
}

/** A PNG or JPEG as it is, for a server that decodes it; of a DICOM file only the pixels, one image a frame. */
async function readLoadFile(
  path: string,
  mode: 'image' | 'rows',
  signal: AbortSignal,
): Promise<readonly LoadFile[]> {
  const bytes = await readFile(path);
  const name = basename(path);
  if (mode === 'image' && !isDicom(bytes)) return [{ name, data: { encoded: bytes } }];
  const image = await openImageFile(bytes, { signal, maxPixels: FILE_PIXELS_MAX });
  try {
    const files: LoadFile[] = [];
    for (let index = 0; index < image.frames; index++) {
      const { samples, format } = await image.frame(index, signal);
      files.push({ name, data: { raw: samples }, format: imageFormatOf(format) });
    }
    return files;
  } finally {
    image.close();
  }
}
