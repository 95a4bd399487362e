/** Scores one file for `salad score`: sends the file itself, or its pixels as rows or tiles. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import {
  type AcquisitionAggregate,
  type AcquisitionEvent,
  AnomalyMapFormat,
  Priority,
  type SaladClient,
  type ScoreOptions,
  Source,
} from '../../../clients/typescript/src/index.js';
import { decodeImage } from '../../imaging/decode/decode.js';
import { defaultPixelFormat } from '../../imaging/pixel-format.js';
import { failureOf } from '../shared/failure.js';
import { note, print, printable, printJson } from '../shared/output.js';
import { type RawImage, rowChunks, tileChunks } from '../shared/pixel-source.js';
import type { ModelChoice, Session } from '../shared/session.js';

/** Flags of `salad score` that determine the calls to the server. */
export interface FileFlags {
  readonly mode: 'image' | 'rows' | 'tiles';
  readonly anomalyMap?: string;
  readonly report?: string;
  readonly patches?: boolean;
  readonly json?: boolean;
  readonly rowsPerSecond?: number;
  readonly priority: 'stat' | 'routine' | 'background';
  readonly maxFalsePositiveRate?: number;
  readonly timeoutMs: number;
}

type FileOptions = FileFlags & { readonly selector: ModelChoice; readonly signal: AbortSignal };

/** @throws SaladClientError, and the errors of reading and decoding the file */
export async function scoreFile(
  session: Session,
  file: string,
  options: FileOptions,
): Promise<AcquisitionAggregate> {
  const bytes = await readFile(file);
  const call: ScoreOptions = {
    timeoutMs: options.timeoutMs,
    signal: options.signal,
    onEvent(event) {
      if (options.patches && event.type === 'patches') printPatches(file, event, options.json === true);
    },
    // No retries: patches of a failed attempt are printed already and would be printed again.
    ...(options.patches ? { retry: false as const } : {}),
    onRetry({ attempt, error }) {
      if (attempt > 2 || error.status !== 'UNAVAILABLE') return;
      const { message } = failureOf(session.explain(error));
      note(`salad: ${message}; retrying for ${options.timeoutMs / 1000} s`);
    },
  };
  return options.mode === 'image'
    ? session.client.scoreImage(headerOf(options), { encoded: bytes }, call)
    : scorePixels(session.client, await decode(bytes), options, call);
}

type Decoded = RawImage & { readonly bitsStored: number };

/** Without a limit of its own, because the file is the user's; the limits of the server apply. */
function decode(bytes: Uint8Array): Promise<Decoded> {
  return decodeImage(bytes, { maxPixels: Number.MAX_SAFE_INTEGER });
}

/** Sends rows or tiles, as a modality does; all modes give the same scores. */
function scorePixels(
  client: SaladClient,
  image: Decoded,
  options: FileOptions,
  call: ScoreOptions,
): Promise<AcquisitionAggregate> {
  const { rows, columns, bitsAllocated, bitsStored } = image;
  if (options.mode === 'rows') {
    const header = {
      ...headerOf(options),
      image: { rows, columns, bitsAllocated, bitsStored },
      source: Source.SOURCE_ROWS,
    };
    return client.scoreAcquisition(header, () => rowChunks(image, 16, options.rowsPerSecond), call);
  }
  // Tiles are always sent as float32 display values, whatever the format of the file.
  const header = {
    ...headerOf(options),
    image: { rows, columns, bitsAllocated: 32, bitsStored },
    source: Source.SOURCE_TILES,
  };
  const format = defaultPixelFormat(rows, columns, bitsAllocated, bitsStored);
  return client.scoreAcquisition(header, (accepted) => tileChunks(image, format, accepted), call);
}

const PRIORITIES = {
  stat: Priority.PRIORITY_STAT,
  routine: Priority.PRIORITY_ROUTINE,
  background: Priority.PRIORITY_BACKGROUND,
};

function headerOf(options: FileOptions) {
  const needsMap = options.anomalyMap !== undefined || options.report !== undefined;
  const rate = options.maxFalsePositiveRate;
  return {
    acquisitionId: randomUUID(),
    model: options.selector,
    priority: PRIORITIES[options.priority],
    options: {
      patchScores: options.patches === true,
      anomalyMap: needsMap
        ? AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32
        : AnomalyMapFormat.ANOMALY_MAP_FORMAT_NONE,
      ...(rate === undefined ? {} : { maxFalsePositiveRate: rate }),
    },
  };
}

function printPatches(file: string, event: AcquisitionEvent & { type: 'patches' }, json: boolean): void {
  for (const { row, column, score: value, robustZ, pValue } of event.patches) {
    if (json) printJson({ event: 'patch', file, row, column, score: value, robustZ, pValue });
    else
      print(`${printable(file)}  patch ${row},${column}  score ${value.toFixed(4)}  z ${robustZ.toFixed(2)}`);
  }
}
