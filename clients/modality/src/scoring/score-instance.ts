/** Scores the frames of one instance: decodes them here, and sends only pixels and their meaning to the server. */
import { randomUUID } from 'node:crypto';
import type { DicomDecoder } from '../../../../src/dicom/decoder/dicom-decoder.js';
import type { DicomFrameParts } from '../../../../src/dicom/decoder/dicom-file.js';
import { SaladError } from '../../../../src/errors/index.js';
import { imageFormatOf } from '../../../../src/wire/image-format.js';
import {
  type AcquisitionAggregate,
  AnomalyMapFormat,
  Decision,
  type PixelChunk,
  Priority,
  Source,
  WarningKind,
} from '../../../typescript/src/index.js';
import type { Instance, StoredMap } from '../inbox/instance.js';
import { storedMapOf } from './frame-map.js';
import { partsOf } from './frame-parts.js';
import type { Targets } from './targets.js';

/** As of the server's largest image. */
export const PIXELS_MAX = 2 ** 27;
const ROWS_PER_MESSAGE = 16;

export interface ScoringTask {
  readonly decoder: DicomDecoder;
  readonly targets: Targets;
  readonly model: { readonly name: string; readonly version?: number };
  readonly maxFalsePositiveRate: number | undefined;
  /** Whether the anomaly maps are needed. */
  readonly withMaps: boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** The result of one frame, as it is kept and exported. */
export interface FrameResult {
  /** From 1. */
  readonly frame: number;
  /** NAME@VERSION. */
  readonly model: string;
  /** SHA-256 of the bundle. */
  readonly modelHash: string;
  readonly engines: readonly string[];
  /** Null where nothing was scored. */
  readonly imageScore: number | null;
  readonly pValue: number | null;
  readonly decision: 'normal' | 'anomalous' | 'indeterminate' | 'unspecified';
  readonly threshold: number;
  readonly maxFalsePositiveRate: number;
  readonly coverage: { readonly scored: number; readonly skipped: number; readonly failed: number };
  /** Boxes in pixels of the source image; right and bottom are exclusive. */
  readonly topPatches: readonly {
    readonly score: number;
    readonly robustZ: number;
    readonly pValue: number;
    readonly box: {
      readonly top: number;
      readonly left: number;
      readonly bottom: number;
      readonly right: number;
    };
  }[];
  readonly warnings: readonly { readonly kind: string; readonly message: string }[];
}

export interface InstanceResult {
  /** When, in ms since 1970. */
  readonly scoredMs: number;
  readonly rows: number;
  readonly columns: number;
  readonly frames: readonly FrameResult[];
}

export interface ScoredInstance {
  readonly result: InstanceResult;
  /** Of the frames that have one, if they are needed. */
  readonly maps: readonly StoredMap[];
}

/**
 * @param path of the instance's file
 * @throws SaladError, SaladClientError; see `failureOf`
 */
export async function scoreInstance(
  task: ScoringTask,
  instance: Instance,
  path: string,
): Promise<ScoredInstance> {
  const { decoder, signal } = task;
  const file = await decoder.openFile(path, { maxPixels: PIXELS_MAX, signal });
  try {
    file.refuseUnscorable();
    const { facts, instance: found } = file.description;
    if (found.sopInstanceUid !== instance.sopInstanceUid) {
      throw new SaladError(
        'INSTANCE_CONFLICT',
        'its data set has another SOP Instance UID than it was sent under',
      );
    }
    const frames: FrameResult[] = [];
    const maps: StoredMap[] = [];
    for (let index = 0; index < facts.frames; index++) {
      const frame = await file.frameInParts(index, { signal });
      const aggregate = await scoreFrame(task, instance, frame);
      frames.push(resultOf(aggregate, index + 1));
      const map = storedMapOf(index + 1, aggregate.anomalyMap);
      if (map !== undefined) maps.push(map);
    }
    return { result: { scoredMs: Date.now(), rows: facts.rows!, columns: facts.columns!, frames }, maps };
  } finally {
    file.close();
  }
}

function scoreFrame(
  task: ScoringTask,
  { priority }: Instance,
  frame: DicomFrameParts,
): Promise<AcquisitionAggregate> {
  const rate = task.maxFalsePositiveRate;
  // Identifies nothing: the server logs it and puts it into traces.
  const acquisitionId = randomUUID();
  const header = {
    acquisitionId,
    model: { name: task.model.name, version: task.model.version },
    image: imageFormatOf(frame.format),
    source: Source.SOURCE_ROWS,
    priority: priority === 'stat' ? Priority.PRIORITY_STAT : Priority.PRIORITY_ROUTINE,
    options: {
      patchScores: false,
      ...(rate === undefined ? {} : { maxFalsePositiveRate: rate }),
      ...(task.withMaps ? { anomalyMap: AnomalyMapFormat.ANOMALY_MAP_FORMAT_FLOAT32 } : {}),
    },
  };
  return task.targets.call(
    (client, timeoutMs) =>
      client.scoreAcquisition(header, () => rowChunks(frame), {
        timeoutMs,
        signal: task.signal,
        // One quick retry for a connection that broke; for more there is the next target, and the queue.
        retry: { maxAttempts: 2 },
      }),
    task.timeoutMs,
  );
}

async function* rowChunks(frame: DicomFrameParts): AsyncGenerator<PixelChunk, void, undefined> {
  const rowBytes = (frame.format.columns * frame.format.bitsAllocated) / 8;
  for await (const part of partsOf(frame)) {
    for (let { firstRow } = part; firstRow < part.endRow; firstRow += ROWS_PER_MESSAGE) {
      const at = (firstRow - part.firstRow) * rowBytes;
      yield {
        type: 'rows',
        rows: { firstRow, samples: part.samples.subarray(at, at + ROWS_PER_MESSAGE * rowBytes) },
      };
    }
  }
}

const DECISIONS: Readonly<Partial<Record<Decision, FrameResult['decision']>>> = {
  [Decision.DECISION_NORMAL]: 'normal',
  [Decision.DECISION_ANOMALOUS]: 'anomalous',
  [Decision.DECISION_INDETERMINATE]: 'indeterminate',
};

function resultOf(aggregate: AcquisitionAggregate, frame: number): FrameResult {
  const { model, coverage, decision, threshold, maxFalsePositiveRate, engines } = aggregate;
  const known = (value: number) => (Number.isFinite(value) ? value : null);
  return {
    frame,
    model: `${model?.name}@${model?.version}`,
    modelHash: model?.bundleSha256 ?? '',
    engines,
    imageScore: known(aggregate.imageScore),
    pValue: known(aggregate.pValue),
    decision: DECISIONS[decision] ?? 'unspecified',
    threshold,
    maxFalsePositiveRate,
    coverage: {
      scored: coverage?.scored ?? 0,
      skipped: coverage?.skipped ?? 0,
      failed: coverage?.failed ?? 0,
    },
    topPatches: aggregate.topPatches.flatMap(({ score, robustZ, pValue, box }) =>
      box === undefined ? [] : [{ score, robustZ, pValue, box }],
    ),
    warnings: aggregate.warnings.map(({ kind, message }) => ({ kind: WarningKind[kind] ?? '', message })),
  };
}
