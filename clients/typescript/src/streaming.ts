/** Both directions of one call: pixels out no faster than they are taken, events in. */
import { once } from 'node:events';
import type { ClientDuplexStream, ClientReadableStream } from '@grpc/grpc-js';
import { crc32c } from '@node-rs/crc32';
import type { StreamAcquisitionRequest } from '../../../src/gen/salad/v1/anomaly_scoring.js';
import type {
  AcquisitionAccepted,
  AcquisitionAggregate,
  PatchScore,
} from '../../../src/gen/salad/v1/types.js';
import { iteratorOf, type PixelChunk } from './source.js';

/** What an acquisition tells, in this order: accepted once, patches many times, aggregate once. */
export type AcquisitionEvent =
  | { readonly type: 'accepted'; readonly accepted: AcquisitionAccepted }
  | { readonly type: 'patches'; readonly patches: readonly PatchScore[] }
  | { readonly type: 'aggregate'; readonly aggregate: AcquisitionAggregate };

export interface Response {
  payload: EventPayload | undefined;
}
type EventPayload =
  | { $case: 'accepted'; value: AcquisitionAccepted }
  | { $case: 'patchScores'; value: { patches: PatchScore[] } }
  | { $case: 'aggregate'; value: AcquisitionAggregate };

/**
 * Sends the chunks, waiting for `drain` where the connection is behind, then `end` with the checksum.
 * Stops as soon as the call is over, even while the source has nothing to give.
 */
export async function sendPixels(
  call: ClientDuplexStream<StreamAcquisitionRequest, unknown>,
  pixels: AsyncIterable<PixelChunk> | readonly PixelChunk[],
): Promise<void> {
  const over = new Promise<undefined>((resolve) => {
    for (const event of ['close', 'error', 'end', 'status']) call.once(event, () => resolve(undefined));
  });
  const iterator = iteratorOf(pixels);
  let checksum = 0;
  for (;;) {
    const next = await Promise.race([iterator.next(), over]);
    if (!next || call.destroyed) {
      leave(iterator);
      return;
    }
    if (next.done) break;
    const chunk = next.value;
    checksum = checksumOf(chunk, checksum);
    if (!call.write(requestOf(chunk))) await Promise.race([once(call, 'drain'), over]);
  }
  call.write({ payload: { $case: 'end', value: { crc32c: checksum } } });
  call.end();
}

/** Lets a source clean up without waiting for it: one that hangs in `next` would never come back. */
function leave(iterator: AsyncIterator<PixelChunk, unknown>): void {
  iterator.return?.().catch(() => {});
}

function requestOf(chunk: PixelChunk): StreamAcquisitionRequest {
  return chunk.type === 'rows'
    ? { payload: { $case: 'rows', value: chunk.rows } }
    : { payload: { $case: 'tiles', value: { tiles: [...chunk.tiles] } } };
}

/** CRC-32C of all sample bytes so far, in the order sent. */
function checksumOf(chunk: PixelChunk, checksum: number): number {
  if (chunk.type === 'rows') return crc32c(chunk.rows.samples, checksum);
  return chunk.tiles.reduce((sum, tile) => crc32c(tile.samples, sum), checksum);
}

export async function* events(
  call: ClientReadableStream<Response> | ClientDuplexStream<StreamAcquisitionRequest, Response>,
): AsyncGenerator<AcquisitionEvent, void, undefined> {
  for await (const response of call as AsyncIterable<Response>) {
    const payload = response.payload;
    if (payload?.$case === 'accepted') yield { type: 'accepted', accepted: payload.value };
    else if (payload?.$case === 'patchScores') yield { type: 'patches', patches: payload.value.patches };
    else if (payload?.$case === 'aggregate') yield { type: 'aggregate', aggregate: payload.value };
  }
}
