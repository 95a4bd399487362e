/** Tiles scored alone: rectangles of a working image that the caller cut, without an image that they belong to. */
import type { PriorityClass } from '../batching/index.js';
import { abortError, throwIfAborted } from '../errors/abort.js';
import { SaladError } from '../errors/index.js';
import { tilesOfRows } from '../geometry/tile-index.js';
import { Latch } from '../util/latch.js';
import type { ServedModel } from './types.js';

export interface TilesRequest {
  /** Who it counts for: an identity or an address. */
  readonly peer: string;
  readonly priority: PriorityClass;
  /** Milliseconds of the batcher's clock; Infinity without one. */
  readonly deadline: number;
  /** Named in the batcher's reports of batches with these tiles. */
  readonly tag?: object | undefined;
  /** uint8 [tiles, tileHeight, tileWidth]. */
  readonly pixels: Uint8Array;
  /** int32 [tiles, 2]: tile row and tile column of each. */
  readonly positions: Int32Array;
}

export interface TilesResult {
  /** float32 [tiles, patchesPerTile]. */
  readonly scores: Float32Array;
  readonly engines: ReadonlySet<string>;
  /** Wait for an engine and time of the batch: means over the tiles. In total: since the tiles were known. */
  readonly timings: { readonly queueMs: number; readonly computeMs: number; readonly totalMs: number };
}

/** A tile while it waits. */
const TILE_BYTES = 16;
const BOOKKEEPING_BYTES = 8192;

/**
 * @throws SaladError TILE_OUT_OF_GRID, OVERLOADED, QUOTA_EXCEEDED, DEADLINE_EXCEEDED, ENGINE_FAILED where a tile could not
 *   be scored; the reason of `signal` where it aborts
 */
export async function scoreTiles(
  model: ServedModel,
  request: TilesRequest,
  signal: AbortSignal,
): Promise<TilesResult> {
  const { geometry, batcher, budget } = model;
  const { positions, priority, peer } = request;
  const count = positions.length / 2;
  checkPositions(model, positions);
  throwIfAborted(signal);
  batcher.refuseWhenSlow(priority, count, peer);
  const scores = count * geometry.patchesPerTile;
  const release = budget.admit(peer, 4 * scores + count * TILE_BYTES + BOOKKEEPING_BYTES);
  const run = new TilesRun(model, request, new Float32Array(scores));
  const onAbort = () => run.fail(abortError(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await run.toEnd();
  } finally {
    signal.removeEventListener('abort', onAbort);
    run.close();
    release();
  }
}

function checkPositions({ geometry }: ServedModel, positions: Int32Array): void {
  const { tileRows, tileColumns } = geometry;
  for (let index = 0; index < positions.length; index += 2) {
    const [row, column] = [positions[index]!, positions[index + 1]!];
    if (row >= 0 && row < tileRows && column >= 0 && column < tileColumns) continue;
    const why = `tile ${index / 2} is at row ${row}, column ${column} of a grid of ${tileRows} rows and ${tileColumns} columns`;
    throw SaladError.field('TILE_OUT_OF_GRID', 'inputs.position', why);
  }
}

class TilesRun {
  private readonly progress = new Latch();
  private readonly engines = new Set<string>();
  private left: number;
  private readonly startedAt: number;
  /** Sums over the scored tiles. */
  private queueMs = 0;
  private computeMs = 0;
  private error: SaladError | undefined;
  private stream: { close(): void } | undefined;

  constructor(
    private readonly model: ServedModel,
    private readonly request: TilesRequest,
    private readonly scores: Float32Array,
  ) {
    this.left = request.positions.length / 2;
    this.startedAt = model.batcher.now();
  }

  async toEnd(): Promise<TilesResult> {
    const { model, request } = this;
    const count = this.left;
    const { priority, deadline, peer, tag } = request;
    const { tilePixels, patchesPerTile } = model.geometry;
    const stream = model.batcher.open({
      ...{ model: model.key, priority, deadline, capacity: count, peer, tag },
      handler: {
        fill: (tile, slot, index) => {
          const { pixels, positions } = slot.view(model.key);
          const own = request.pixels.subarray(tile * tilePixels, (tile + 1) * tilePixels);
          pixels.set(own, index * tilePixels);
          positions.set(request.positions.subarray(2 * tile, 2 * tile + 2), 2 * index);
        },
        deliver: (tile, slot, index, batch, queueMs) => {
          const { patches } = slot.view(model.key);
          const own = patches.scores.subarray(index * patchesPerTile, (index + 1) * patchesPerTile);
          this.scores.set(own, tile * patchesPerTile);
          this.engines.add(batch.engine);
          this.queueMs += queueMs;
          this.computeMs += batch.computeMs;
          this.left -= 1;
          if (this.left === 0) this.progress.open();
        },
        fail: (_tile, error) => this.fail(error),
        expire: () =>
          this.fail(new SaladError('DEADLINE_EXCEEDED', 'the deadline passed while tiles waited')),
      },
    });
    this.stream = stream;
    // The tiles of the request as a grid of one column: the batcher only hands their indices back.
    stream.enqueue(tilesOfRows({ tileColumns: 1 }, 0, count));
    while (this.left > 0 && this.error === undefined) await this.progress.wait();
    if (this.error !== undefined) throw this.error;
    const timings = {
      queueMs: this.queueMs / count,
      computeMs: this.computeMs / count,
      totalMs: model.batcher.now() - this.startedAt,
    };
    return { scores: this.scores, engines: this.engines, timings };
  }

  fail(error: SaladError): void {
    this.error ??= error;
    this.close();
    this.progress.open();
  }

  close(): void {
    this.stream?.close();
  }
}
