/** One acquisition of a load run: its call, and what is counted of it. */
import {
  type AcquisitionAccepted,
  type AcquisitionEvent,
  type SaladClient,
  SaladClientError,
  Source,
} from '../../typescript/src/index.js';
import type { Series } from './series.js';
import { type Schedule, type Tally, TileLatencies } from './tally.js';
import { isFileWorkload, type LoadFile, type LoadKind, pacedChunks, pacedRows } from './workload.js';

/** One acquisition, for a list of all of them. */
export interface RequestRecord {
  readonly id: string;
  readonly model: string;
  readonly mode: string;
  /** Name of the file; empty for a synthetic image. */
  readonly file: string;
  readonly stream: number;
  /** Whether it counts in the figures: it was scheduled in the measured time. */
  readonly counted: boolean;
  /** Scheduled start as a time of day, in ms since 1970. */
  readonly scheduledAtMs: number;
  /** From the scheduled start until the generator started it. */
  readonly latenessMs: number;
  /** From the scheduled start to the answer. */
  readonly latencyMs: number;
  /** `OK` or the name of a gRPC status. */
  readonly status: string;
  readonly reason: string;
  readonly retries: number;
  readonly scoredTiles: number;
}

export interface AcquireOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Refusals are retried; with an open-loop schedule they are one of its figures. */
  readonly retries: boolean;
  readonly onRetry?: (stream: number) => void;
  readonly onRequest?: (record: RequestRecord) => void;
}

let nextId = 0;

export async function acquire(
  client: SaladClient,
  kind: LoadKind & { readonly index: number },
  options: AcquireOptions,
  schedule: Schedule,
  tally: Tally,
  series: Series,
): Promise<void> {
  const { scheduledMs, stream, isCounted } = schedule;
  const number = nextId++;
  const id = `load-${process.pid}-${number}`;
  const file = isFileWorkload(kind.workload)
    ? kind.workload.files[number % kind.workload.files.length]
    : undefined;
  const latenessMs = performance.now() - scheduledMs;
  let tiles: TileLatencies | undefined;
  let retries = 0;
  let status = 'OK';
  let reason = '';
  try {
    const aggregate = await send(client, kind, file, {
      id,
      scheduledMs,
      call: {
        timeoutMs: options.timeoutMs,
        ...(options.signal ? { signal: options.signal } : {}),
        ...(options.retries ? {} : { retry: false as const }),
        onRetry: () => {
          retries += 1;
          options.onRetry?.(stream);
        },
        onEvent: (event: AcquisitionEvent) => {
          if (event.type === 'accepted')
            tiles = new TileLatencies(kind.workload, event.accepted, schedule, tally);
          if (event.type === 'patches') tiles?.record(event.patches);
        },
      },
    });
    if (isCounted) tally.batchFillSum += aggregate.timings?.batchFill ?? 0;
  } catch (error) {
    if (options.signal?.aborted) return;
    status = error instanceof SaladClientError ? error.status : 'CLIENT_ERROR';
    reason = (error instanceof SaladClientError ? error.reason : String(error)) ?? '';
  }
  const now = performance.now();
  const latencyMs = now - scheduledMs;
  if (isCounted) {
    tally.total.count(status, latencyMs);
    tally.kinds[kind.index]?.count(status, latencyMs);
    tally.startLateness.add(latenessMs);
    tally.retries += retries;
  }
  const scoredTiles = tiles?.scored ?? 0;
  if (now <= schedule.measureUntilMs())
    series.add(now, { isOk: status === 'OK', latencyMs, tiles: scoredTiles });
  const { name, version } = kind.model;
  options.onRequest?.({
    ...{ id, model: version === undefined ? name : `${name}@${version}`, mode: kind.workload.mode },
    ...{ file: file?.name ?? '', stream, counted: isCounted },
    ...{ scheduledAtMs: performance.timeOrigin + scheduledMs, latenessMs, latencyMs },
    ...{ status, reason, retries, scoredTiles },
  });
}

function send(
  client: SaladClient,
  { model, workload, priority }: LoadKind,
  file: LoadFile | undefined,
  how: {
    readonly id: string;
    readonly scheduledMs: number;
    readonly call: Parameters<SaladClient['scoreAcquisition']>[2];
  },
) {
  const header = {
    acquisitionId: how.id,
    model,
    ...(priority === undefined ? {} : { priority }),
    options: { patchScores: true },
  };
  if (isFileWorkload(workload)) {
    if (file === undefined) throw new Error('a workload of files needs at least one file');
    const image = file.format === undefined ? {} : { image: file.format };
    if (workload.mode === 'image') return client.scoreImage({ ...header, ...image }, file.data, how.call);
    const rows = () => pacedRows(workload, file, how.scheduledMs);
    return client.scoreAcquisition({ ...header, ...image, source: Source.SOURCE_ROWS }, rows, how.call);
  }
  const { size, mode } = workload;
  return client.scoreAcquisition(
    {
      ...header,
      image: { rows: size, columns: size, bitsAllocated: 8 },
      source: mode === 'rows' ? Source.SOURCE_ROWS : Source.SOURCE_TILES,
    },
    (accepted: AcquisitionAccepted) => pacedChunks(workload, accepted, how.scheduledMs),
    how.call,
  );
}
