/** Scores one file for `salad score`: sends the file, or its pixels as rows or tiles; each frame of a DICOM file is an acquisition. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import {
  type AcquisitionAggregate,
  type AcquisitionEvent,
  AnomalyMapFormat,
  Priority,
  type ScoreOptions,
  Source,
} from '../../../../clients/typescript/src/index.js';
import { type ImageFile, type ImageFrame, openImageFile } from '../../../dicom/decoder/image-file.js';
import type { Photometric } from '../../../dicom/grey-scale.js';
import { isDicom } from '../../../dicom/recognise.js';
import { aspectRatioOf } from '../../../imaging/pixel-format/pixel-format.js';
import { imageFormatOf } from '../../../wire/image-format.js';
import { failureOf } from '../../shared/failure.js';
import { print, printable, printJson } from '../../shared/output.js';
import { rowChunks, tileChunks } from '../../shared/pixel-source.js';
import type { ModelChoice, Session } from '../../shared/session.js';
import type { SourcePixels } from './drawing.js';
import { type DicomSource, labelOf } from './results.js';
import { createRetryNotes } from './retry-notes.js';

/** Flags of `salad score` that determine the calls to the server. */
export interface FileFlags {
  readonly mode: 'image' | 'rows' | 'tiles';
  readonly timeoutMs: number;
  readonly priority: 'stat' | 'routine' | 'background';
  readonly rowsPerSecond?: number;
  readonly maxFalsePositiveRate?: number;
  readonly anomalyMap?: string;
  readonly report?: string;
  readonly patches?: boolean;
  readonly json?: boolean;
  readonly identify?: boolean;
  readonly sendDicom?: boolean;
  readonly photometric?: Photometric;
}

export interface ScoreFileOptions extends FileFlags {
  readonly selector: ModelChoice;
  readonly signal: AbortSignal;
}

/** Higher than any server accepts, because the file is the user's; the limits of the server apply. */
const FILE_PIXELS_MAX = 2 ** 30;

/** The result of a file, or of a frame of it. */
export type FrameResult = { readonly source?: DicomSource } & (
  | {
      readonly aggregate: AcquisitionAggregate;
      readonly latencyMs: number;
      /** Decodes the frame; only until the next result is requested. */
      readonly readPixels: () => Promise<SourcePixels>;
    }
  | { readonly error: unknown }
);

interface Task extends ScoreFileOptions {
  readonly session: Session;
  readonly file: string;
  /** Echoed by the server; the ids of all frames of a file begin alike. */
  readonly acquisitionId: string;
  readonly source?: DicomSource;
}

/** Yields one result per frame; a failure of one frame does not affect the others. Never throws. */
export async function* scoreFile(
  session: Session,
  file: string,
  options: ScoreFileOptions,
): AsyncGenerator<FrameResult> {
  const task: Task = { ...options, session, file, acquisitionId: randomUUID() };
  let bytes: Uint8Array;
  let image: ImageFile | undefined;
  try {
    bytes = await readFile(file);
    // With mode `image` the server decodes files of other formats.
    if (isDicom(bytes) || options.mode !== 'image') {
      const { signal, photometric } = options;
      const open = { signal, ...(photometric === undefined ? {} : { photometric }) };
      image = await openImageFile(bytes, { ...open, maxPixels: FILE_PIXELS_MAX });
    }
  } catch (error) {
    yield { error };
    return;
  }
  try {
    for (let index = 0; index < (image?.frames ?? 1); index++) {
      if (options.signal.aborted) return;
      yield await scoreFrame(task, bytes, image, index);
    }
  } finally {
    image?.close();
  }
}

async function scoreFrame(
  task: Task,
  bytes: Uint8Array,
  image: ImageFile | undefined,
  index: number,
): Promise<FrameResult> {
  const started = performance.now();
  const source = image?.dicom === undefined ? undefined : sourceOf(image, index, task);
  const named = source === undefined ? {} : { source };
  const acquisitionId =
    image !== undefined && image.frames > 1 ? `${task.acquisitionId}.${index + 1}` : task.acquisitionId;
  const own = { ...task, ...named, acquisitionId };
  try {
    const sendsFile = image === undefined || (image.dicom !== undefined && task.sendDicom === true);
    const pixels = sendsFile ? undefined : await image.frame(index, task.signal);
    const aggregate = await (pixels === undefined ? sendFile(own, bytes, image) : sendPixels(own, pixels));
    const latencyMs = performance.now() - started;
    const readPixels = async () => pixels ?? (await readFrame(image, bytes, index, task.signal));
    return { ...named, aggregate, latencyMs, readPixels };
  } catch (error) {
    return { ...named, error };
  }
}

/** @param image undefined if the server decodes the file */
async function readFrame(
  image: ImageFile | undefined,
  bytes: Uint8Array,
  index: number,
  signal: AbortSignal,
): Promise<ImageFrame> {
  if (image !== undefined) return image.frame(index, signal);
  const opened = await openImageFile(bytes, { signal, maxPixels: FILE_PIXELS_MAX });
  try {
    return await opened.frame(index, signal);
  } finally {
    opened.close();
  }
}

/** The number of the frame, and with --identify also the identification of the instance. */
function sourceOf(image: ImageFile, index: number, { identify, acquisitionId }: Task): DicomSource {
  const { instance, greyScale } = image.dicom!;
  return {
    frame: index + 1,
    frames: image.frames,
    ...(image.frames > 1 ? { group: acquisitionId } : {}),
    notes: greyScale?.notes ?? [],
    ...(identify === true ? instance : {}),
  };
}

function sendFile(
  task: Task,
  encoded: Uint8Array,
  image: ImageFile | undefined,
): Promise<AcquisitionAggregate> {
  const frame = image?.dicom === undefined ? {} : { frame: task.source?.frame ?? 1 };
  const photometric = image?.dicom === undefined ? undefined : task.photometric;
  const header = {
    ...headerOf(task),
    ...(photometric === undefined ? {} : { image: photometricOf(photometric) }),
  };
  return task.session.client.scoreImage(header, { encoded, ...frame }, callOf(task));
}

function photometricOf(photometric: Photometric) {
  const { photometricInterpretation } = imageFormatOf({
    ...{ rows: 1, columns: 1, bitsAllocated: 8, bitsStored: 8, isSigned: false },
    ...{ rescaleSlope: 1, rescaleIntercept: 0, voi: { kind: 'fullRange' } },
    monochrome1: photometric === 'MONOCHROME1',
  });
  return { photometricInterpretation };
}

/** Sends rows or tiles, as a modality does; all modes give the same scores. */
function sendPixels(task: Task, image: ImageFrame): Promise<AcquisitionAggregate> {
  const { client } = task.session;
  const { format } = image;
  if (task.mode !== 'tiles') {
    const header = { ...headerOf(task), image: imageFormatOf(format), source: Source.SOURCE_ROWS };
    return client.scoreAcquisition(header, () => rowChunks(image, 16, task.rowsPerSecond), callOf(task));
  }
  // Tiles are always sent as float32 display values, whatever the format of the file.
  const { rows, columns, bitsStored } = image;
  const pixelAspectRatio = aspectRatioOf(format);
  const header = {
    ...headerOf(task),
    image: { rows, columns, bitsAllocated: 32, bitsStored, pixelAspectRatio },
    source: Source.SOURCE_TILES,
  };
  return client.scoreAcquisition(header, (accepted) => tileChunks(image, format, accepted), callOf(task));
}

function callOf(task: Task): ScoreOptions {
  const { session, timeoutMs, patches } = task;
  return {
    timeoutMs,
    signal: task.signal,
    onEvent(event) {
      if (patches && event.type === 'patches') printPatches(task, event);
    },
    // No retries: patches of a failed attempt are printed already and would be printed again.
    ...(patches ? { retry: false as const } : {}),
    onRetry: createRetryNotes(timeoutMs, (error) => failureOf(session.explain(error)).message),
  };
}

const PRIORITIES = {
  stat: Priority.PRIORITY_STAT,
  routine: Priority.PRIORITY_ROUTINE,
  background: Priority.PRIORITY_BACKGROUND,
};

function headerOf(task: Task) {
  const needsMap = task.anomalyMap !== undefined || task.report !== undefined;
  const rate = task.maxFalsePositiveRate;
  return {
    acquisitionId: task.acquisitionId,
    model: task.selector,
    priority: PRIORITIES[task.priority],
    options: {
      patchScores: task.patches === true,
      anomalyMap: needsMap
        ? AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32
        : AnomalyMapFormat.ANOMALY_MAP_FORMAT_NONE,
      ...(rate === undefined ? {} : { maxFalsePositiveRate: rate }),
    },
  };
}

function printPatches(task: Task, event: AcquisitionEvent & { type: 'patches' }): void {
  const { file, source, json } = task;
  const label = printable(labelOf({ file, ...(source === undefined ? {} : { source }) }));
  for (const { row, column, score: value, robustZ, pValue } of event.patches) {
    if (json) {
      const frame = source === undefined ? {} : { frame: source.frame };
      printJson({ event: 'patch', file, ...frame, row, column, score: value, robustZ, pValue });
    } else print(`${label}  patch ${row},${column}  score ${value.toFixed(4)}  z ${robustZ.toFixed(2)}`);
  }
}
