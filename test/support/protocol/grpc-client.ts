/** A bare client of the generated contract, for tests through the port. */
import { type CallOptions, credentials, type Metadata, type ServiceError } from '@grpc/grpc-js';
import { BadRequest, ErrorInfo, RetryInfo } from '../../../src/gen/google/rpc/error_details.js';
import { Status } from '../../../src/gen/google/rpc/status.js';
import {
  AnomalyScoringClient,
  type ScoreImageResponse,
  type StreamAcquisitionRequest,
  type StreamAcquisitionResponse,
} from '../../../src/gen/salad/v1/anomaly_scoring.js';
import {
  type AcquisitionAggregate,
  AcquisitionHeader,
  type PatchScore,
  Source,
} from '../../../src/gen/salad/v1/types.js';

export type Payload = NonNullable<StreamAcquisitionRequest['payload']>;
type Deep<T> = T extends object ? { [K in keyof T]?: Deep<T[K]> } : T;

export interface Outcome {
  readonly kinds: readonly string[];
  /** By patch index in a grid of 8. */
  readonly patches: ReadonlyMap<number, PatchScore>;
  readonly aggregate: AcquisitionAggregate;
}

export function connect(address: string): AnomalyScoringClient {
  return new AnomalyScoringClient(address, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
    'grpc.use_local_subchannel_pool': 1,
  });
}

export function header(changes: Deep<AcquisitionHeader> = {}): Payload {
  const base = {
    acquisitionId: 'a1',
    model: { name: 'small' },
    source: Source.SOURCE_ROWS,
    ...changes,
    image: { rows: 64, columns: 64, bitsAllocated: 8, ...changes.image },
  };
  return { $case: 'header', value: AcquisitionHeader.fromPartial(base as never) };
}

export function rows(samples: Uint8Array, columns: number, from: number, to: number): Payload {
  return {
    $case: 'rows',
    value: { firstRow: from, samples: samples.subarray(from * columns, to * columns) },
  };
}

/** The core of one tile out of an image of 64 x 64. */
export function tile(samples: Uint8Array, row: number, column: number) {
  const core = new Uint8Array(256);
  for (let y = 0; y < 16; y++) {
    const start = (row * 16 + y) * 64 + column * 16;
    core.set(samples.subarray(start, start + 16), y * 16);
  }
  return { row, column, samples: core };
}

export function tiles(list: ReturnType<typeof tile>[]): Payload {
  return { $case: 'tiles', value: { tiles: list } };
}

export const end = (crc32c?: number): Payload => ({ $case: 'end', value: { crc32c } });

/** Sends everything, half-closes, and reads to the end. */
export function stream(
  client: AnomalyScoringClient,
  payloads: readonly Payload[],
  options: CallOptions = {},
): Promise<Outcome> {
  const call = client.streamAcquisition(options);
  const outcome = collect(call);
  for (const payload of payloads) call.write({ payload });
  call.end();
  return outcome;
}

interface ResponseCall {
  on(event: 'data', listener: (message: StreamAcquisitionResponse | ScoreImageResponse) => void): unknown;
  on(event: 'error', listener: (error: ServiceError) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
}

export function collect(call: ResponseCall): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const kinds: string[] = [];
    const patches = new Map<number, PatchScore>();
    let aggregate: AcquisitionAggregate | undefined;
    call.on('data', ({ payload }) => {
      kinds.push(payload?.$case ?? 'none');
      if (payload?.$case === 'aggregate') aggregate = payload.value;
      if (payload?.$case !== 'patchScores') return;
      for (const patch of payload.value.patches) {
        const key = patch.row * 8 + patch.column;
        if (patches.has(key)) reject(new Error(`patch ${key} came twice`));
        patches.set(key, patch);
      }
    });
    call.on('error', reject);
    call.on('end', () => {
      if (aggregate !== undefined) resolve({ kinds, patches, aggregate });
    });
  });
}

export interface Refusal {
  readonly code: number;
  readonly reason: string;
  readonly domain: string;
  readonly fields: readonly string[];
  readonly retryMs: number | undefined;
}

/** The status of a call that must fail. */
export async function refusal(call: Promise<unknown>): Promise<Refusal> {
  let error: ServiceError;
  try {
    await call;
  } catch (thrown) {
    error = thrown as ServiceError;
    if (typeof error.code !== 'number') throw thrown;
    return decodeRefusal(error.code, error.metadata);
  }
  throw new Error('the call succeeded');
}

function decodeRefusal(code: number, metadata: Metadata): Refusal {
  const [bytes] = metadata.get('grpc-status-details-bin');
  const details = bytes === undefined ? [] : Status.decode(bytes as Buffer).details;
  const find = (type: string) =>
    details.find(({ typeUrl }) => typeUrl === `type.googleapis.com/google.rpc.${type}`);
  const info = find('ErrorInfo');
  const request = find('BadRequest');
  const retry = find('RetryInfo');
  const { reason, domain } = info ? ErrorInfo.decode(info.value) : { reason: '', domain: '' };
  const delay = retry ? RetryInfo.decode(retry.value).retryDelay : undefined;
  return {
    code,
    reason,
    domain,
    fields: request ? BadRequest.decode(request.value).fieldViolations.map(({ field }) => field) : [],
    retryMs: delay === undefined ? undefined : Number(delay.seconds) * 1000 + delay.nanos / 1e6,
  };
}
