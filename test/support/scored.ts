/** One acquisition with all it brought, and what makes two of them the same result. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type {
  AcquisitionAggregate,
  PixelChunk,
  RetryNotice,
  SaladClient,
} from '../../clients/typescript/src/index.js';
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

/** Equal but for the order of float32 sums, which depends on the batch that a tile was scored in; ids may differ. */
export function assertSame(one: Scored, other: Scored): void {
  const [a, b] = [essence(one.aggregate), essence(other.aggregate)];
  assert.ok(Math.abs(a.imageScore - b.imageScore) <= 1e-4, `${a.imageScore} is not ${b.imageScore}`);
  assert.deepEqual([a.decision, a.coverage, a.model], [b.decision, b.coverage, b.model]);
  assert.equal(one.patches.scores.size, other.patches.scores.size);
  for (const [place, value] of one.patches.scores) {
    const expected = other.patches.scores.get(place) ?? Number.NaN;
    assert.ok(Math.abs(value - expected) <= 1e-6, `patch ${place}: ${value} is not ${expected}`);
  }
}
