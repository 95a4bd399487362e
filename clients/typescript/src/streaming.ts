/** Both directions of a call: sends pixels with backpressure, reads events. */
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

/** The answers to an acquisition, in this order: accepted once, patches any number of times, aggregate once. */
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
 * Sends the chunks, then `end` with their checksum. Waits for `drain` if the connection is slower than the source.
 * Stops when the call ends, even while it waits for the source.
 * @throws whatever the source throws
 */
export async function sendPixels(
  call: ClientDuplexStream<StreamAcquisitionRequest, unknown>,
  pixels: AsyncIterable<PixelChunk> | readonly PixelChunk[],
): Promise<void> {
  const ended = new Promise<undefined>((resolve) => {
    for (const event of ['close', 'error', 'end', 'status']) call.once(event, () => resolve(undefined));
  });
  const iterator = iteratorOf(pixels);
  let checksum = 0;
  for (;;) {
    const next = await Promise.race([iterator.next(), ended]);
    if (!next || call.destroyed) {
      closeIterator(iterator);
      return;
    }
    if (next.done) break;
    const chunk = next.value;
    checksum = updateChecksum(chunk, checksum);
    if (!call.write(requestOf(chunk))) await Promise.race([once(call, 'drain'), ended]);
  }
  call.write({ payload: { $case: 'end', value: { crc32c: checksum } } });
  call.end();
}

/** Lets a source clean up, but does not wait: a source that hangs in `next` would never return. */
function closeIterator(iterator: AsyncIterator<PixelChunk, unknown>): void {
  iterator.return?.().catch(() => {});
}

function requestOf(chunk: PixelChunk): StreamAcquisitionRequest {
  return chunk.type === 'rows'
    ? { payload: { $case: 'rows', value: chunk.rows } }
    : { payload: { $case: 'tiles', value: { tiles: [...chunk.tiles] } } };
}

/** Updates the CRC-32C of all samples sent so far. */
function updateChecksum(chunk: PixelChunk, checksum: number): number {
  if (chunk.type === 'rows') return crc32c(chunk.rows.samples, checksum);
  return chunk.tiles.reduce((sum, tile) => crc32c(tile.samples, sum), checksum);
}

/** Yields the answers of a call as events. @throws ServiceError of grpc-js if the call fails */
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
