/** What a client made of the .proto files alone gets: without retries, checks, or code of ours. */

import { join } from 'node:path';
import { type Client, credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { root } from '../../../support/root.js';
import type { HeaderJson, ResultMessage } from './protocol.js';

interface Response {
  readonly accepted?: { readonly geometry: { readonly patchRows: number; readonly patchColumns: number } };
  readonly patchScores?: { readonly patches: readonly Patch[] };
  readonly aggregate?: {
    readonly imageScore: number;
    readonly pValue: number;
    readonly decision: string;
    readonly coverage: { readonly scored: number; readonly missing: number };
    readonly anomalyMap: { readonly data: Buffer } | null;
  };
}

interface Patch {
  readonly row: number;
  readonly column: number;
  readonly score: number;
  readonly robustZ: number;
}

interface Call {
  write(request: unknown): void;
  end(): void;
  on(event: 'data', listener: (response: Response) => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
  on(event: 'end', listener: () => void): void;
}

interface Scoring extends Client {
  StreamAcquisition(): Call;
}

const definition = loadSync('salad/v1/anomaly_scoring.proto', {
  includeDirs: [join(root, 'proto')],
  enums: String,
  defaults: true,
  longs: Number,
});
const { salad } = loadPackageDefinition(definition) as unknown as {
  salad: { v1: { AnomalyScoring: new (target: string, channel: unknown, options: object) => Scoring } };
};

/** @param rows how many of the header's rows are sent, in one message */
export async function reference(
  address: string,
  header: HeaderJson,
  samples: Uint8Array,
  rows = header.image?.rows ?? 0,
): Promise<Partial<ResultMessage>> {
  const options = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };
  const client = new salad.v1.AnomalyScoring(address, credentials.createInsecure(), options);
  try {
    const responses = await new Promise<Response[]>((resolve, reject) => {
      const call = client.StreamAcquisition();
      const all: Response[] = [];
      call.on('data', (response) => all.push(response));
      call.on('error', reject);
      call.on('end', () => resolve(all));
      call.write({ header: { source: 'SOURCE_ROWS', ...header } });
      const { columns = 0, bitsAllocated = 0 } = header.image ?? {};
      call.write({
        rows: { firstRow: 0, samples: samples.subarray(0, (rows * columns * bitsAllocated) / 8) },
      });
      call.write({ end: {} });
      call.end();
    });
    return resultOf(responses);
  } finally {
    client.close();
  }
}

function resultOf(responses: readonly Response[]): Partial<ResultMessage> {
  const geometry = responses.find(({ accepted }) => accepted)?.accepted?.geometry;
  const aggregate = responses.find((response) => response.aggregate)?.aggregate;
  if (geometry === undefined || aggregate === undefined) throw new Error('the reference has no aggregate');
  const patches = responses.flatMap(({ patchScores }) => patchScores?.patches ?? []);
  const grid = (value: (patch: Patch) => number) => {
    const values = new Float32Array(geometry.patchRows * geometry.patchColumns).fill(Number.NaN);
    for (const patch of patches) values[patch.row * geometry.patchColumns + patch.column] = value(patch);
    return Buffer.from(values.buffer).toString('base64');
  };
  return {
    imageScore: aggregate.imageScore,
    pValue: aggregate.pValue,
    decision: aggregate.decision.replace('DECISION_', ''),
    scores: grid(({ score }) => score),
    robustZ: grid((patch) => patch.robustZ),
    scored: aggregate.coverage.scored,
    missing: aggregate.coverage.missing,
    map: Buffer.from(aggregate.anomalyMap?.data ?? []).toString('base64'),
  };
}
