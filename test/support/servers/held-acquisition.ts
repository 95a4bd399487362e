/** An acquisition that has begun to run and sends the rest of its pixels when it is told to. */
import type { AcquisitionAggregate, PixelChunk, SaladClient } from '../../../clients/typescript/src/index.js';
import { Latch } from '../../../src/acquisition/index.js';
import { smallHeader, smallImage, smallRows } from './small-server.js';

export interface HeldAcquisition {
  /** Sends the rest. */
  release(): void;
  readonly outcome: Promise<AcquisitionAggregate>;
}

/** @throws the error of the server where it does not accept the acquisition */
export async function holdAcquisition(client: SaladClient, acquisitionId = 'held'): Promise<HeldAcquisition> {
  const chunks = smallRows(smallImage(1));
  const half = chunks.length / 2;
  const released = new Latch();
  const accepted = new Latch();
  async function* source(): AsyncGenerator<PixelChunk> {
    yield* chunks.slice(0, half);
    await released.wait();
    yield* chunks.slice(half);
  }
  const outcome = client.scoreAcquisition(smallHeader(acquisitionId), source, {
    timeoutMs: 60_000,
    onEvent: ({ type }) => {
      if (type === 'accepted') accepted.open();
    },
  });
  outcome.catch(() => {});
  await Promise.race([accepted.wait(), outcome]);
  return { release: () => released.open(), outcome };
}
