/** One acquisition with all it brought, and what makes two of them the same result. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type {
  AcquisitionAggregate,
  PixelChunk,
  RetryNotice,
  SaladClient,
} from '../../../clients/typescript/src/index.js';
import { essence, PatchCollector, smallHeader, smallImage, smallRows } from './small-server.js';

export interface Scored {
  readonly aggregate: AcquisitionAggregate;
  /** Of the attempt that went through. */
  readonly patches: PatchCollector;
  readonly attempts: number;
}

export interface ScoreSettings {
  /** The pixels are sent over about this long; 0: at once. */
  readonly durationMs: number;
  /** @param wasAccepted whether the attempt that broke had begun to run */
  readonly onRetry?: (notice: RetryNotice, wasAccepted: boolean) => void;
}

async function* paced(chunks: readonly PixelChunk[], durationMs: number): AsyncGenerator<PixelChunk> {
  for (const chunk of chunks) {
    if (durationMs > 0) await sleep(durationMs / chunks.length);
    yield chunk;
  }
}

/** Scores the small image of that seed as `id`. @throws where a patch comes twice in one attempt */
export async function scoreSmall(
  client: SaladClient,
  id: string,
  seed: number,
  { durationMs, onRetry }: ScoreSettings,
): Promise<Scored> {
  const patches = new PatchCollector();
  let attempts = 1;
  let wasAccepted = false;
  const chunks = smallRows(smallImage(seed));
  const aggregate = await client.scoreAcquisition(smallHeader(id), () => paced(chunks, durationMs), {
    timeoutMs: 90_000,
    onEvent: (event) => {
      wasAccepted = true;
      patches.take(event);
    },
    onRetry: (notice) => {
      onRetry?.(notice, wasAccepted);
      attempts += 1;
      wasAccepted = false;
      patches.reset();
    },
  });
  return { aggregate, patches, attempts };
}

/**
 * Equal to the bit, as the engine `onnx` scores a tile whatever its batch, its process and the other batches; ids and
 * times may differ.
 */
export function assertSame(one: Scored, other: Scored): void {
  const resultOf = ({ aggregate, patches }: Scored) => {
    const { acquisitionId: _id, ...rest } = essence(aggregate);
    return { ...rest, patches: patches.scores };
  };
  assert.deepEqual(resultOf(one), resultOf(other));
}
