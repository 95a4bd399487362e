/** The state of one acquisition while it runs: takes pixels in, queues ready tiles, keeps what comes back. */
import { crc32c } from '@node-rs/crc32';
import type { BatchReport, TileStream } from '../batching/index.js';
import type { EngineName } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import { alignsInTile } from '../geometry/geometry.js';
import { ALIGNMENT_NUMBERS, fromNumbers } from '../imaging/alignment-map.js';
import { writeTile } from '../imaging/batch-tiles.js';
import { inTurns } from '../imaging/turns.js';
import { type TilePosition, WorkingImage } from '../imaging/working-image.js';
import { Latch } from '../util/latch.js';
import type { AcquisitionOutcome } from './outcome.js';
import { PatchResults } from './patch-results.js';
import type { AcquisitionEvent, AcquisitionRequest, PixelMessage, ServedModel, TileSlot } from './types.js';

/** Bytes whose checksum is taken in one step: a fraction of a millisecond. */
const CHECKSUM_BYTES = 4 * 1024 * 1024;

export class AcquisitionRun {
  readonly image: WorkingImage;
  readonly results: PatchResults;
  readonly progress = new Latch();
  /** What the client was told; another may have scored in the end. */
  readonly announcedEngine: EngineName;
  private readonly startedAt: number;
  private readonly now: () => number;
  private stream: TileStream | undefined;
  private outstanding = 0;
  /** Ready tiles of an image of which no structure has been found yet (see `ImageContent`). */
  private held: TilePosition[] = [];
  private failedPatches = 0;
  private failure: string | undefined;
  private firstScoreAt: number | undefined;
  private allRead = false;
  private endedEarly = false;
  private checksum = 0;
  private error: SaladError | undefined;
  private whenDone: (() => void) | undefined;

  constructor(
    private readonly model: ServedModel,
    private readonly request: AcquisitionRequest,
  ) {
    const { manifest, geometry } = model;
    this.announcedEngine = model.engine;
    this.now = model.batcher.now;
    this.startedAt = this.now();
    const { alignment: _scoredWith, ...unaligned } = manifest.input;
    this.image = new WorkingImage(
      geometry,
      alignsInTile(manifest, geometry) ? unaligned : manifest.input,
      request.format,
      manifest.tiling.minStd,
      request.source,
    );
    this.results = new PatchResults(model, request.options);
  }

  /** @throws SaladError OVERLOADED */
  open(): void {
    this.stream = this.model.batcher.open({
      model: this.model.key,
      priority: this.request.priority,
      deadline: this.request.deadline,
      capacity: this.model.geometry.tileCount,
      peer: this.request.peer,
      tag: this.request.tag,
      handler: {
        fill: (tile, slot, index) => this.fill(tile, slot, index),
        deliver: (tile, slot, index, batch, queueMs) => {
          this.deliver(tile, slot, index, batch, queueMs);
          this.firstScoreAt ??= this.now();
          this.settle();
        },
        fail: (tile, error) => {
          this.failedPatches += this.results.unskippedPatches(tile);
          this.failure = error.message;
          this.settle();
        },
        expire: () =>
          this.abort(new SaladError('DEADLINE_EXCEEDED', 'the deadline passed while tiles waited')),
      },
    });
  }

  get isDone(): boolean {
    return this.error !== undefined || (this.allRead && this.outstanding === 0);
  }

  /** Resolves when the run is done or has failed, and after `ms` at the latest. */
  async doneWithin(ms: number): Promise<void> {
    if (this.isDone) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.whenDone = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
    this.whenDone = undefined;
  }

  throwIfFailed(): void {
    if (this.error !== undefined) throw this.error;
  }

  abort(error: SaladError): void {
    this.error ??= error;
    this.close();
    this.notify();
  }

  close(): void {
    this.stream?.close();
  }

  /** Never rejects: a failure is kept for whoever waits for progress. */
  async read(pixels: AsyncIterable<PixelMessage>): Promise<void> {
    try {
      let ended = false;
      for await (const message of pixels) {
        if (this.error !== undefined) return;
        if (ended) throw new SaladError('MESSAGE_UNEXPECTED', 'a message came after end');
        if (message.kind === 'end') {
          this.checkEnd(message.crc32c);
          ended = true;
          // At once: a client that keeps its side of the stream open gets its aggregate all the same.
          this.finishReading(true);
        } else {
          await inTurns(this.take(message));
        }
      }
      if (!ended) this.finishReading(false);
    } catch (error) {
      this.abort(SaladError.from(error));
    }
  }

  /** What was scored since the last call, at most `max` patches or one tile. */
  takePatches(max: number): Extract<AcquisitionEvent, { kind: 'patches' }> {
    const { alignment, workingToSource } = this.image;
    return {
      kind: 'patches',
      patches: this.results.takeNew(max),
      workingToSource: alignment === null ? undefined : workingToSource,
    };
  }

  outcome(): AcquisitionOutcome {
    return {
      announcedEngine: this.announcedEngine,
      image: this.image,
      results: this.results,
      failedPatches: this.failedPatches,
      failure: this.failure,
      missingTiles: this.image.missingTiles(),
      endedEarly: this.endedEarly,
      totalMs: this.now() - this.startedAt,
      firstScoreMs: this.firstScoreAt === undefined ? undefined : this.firstScoreAt - this.startedAt,
    };
  }

  /** Takes a message in steps: however large it is, other streams get their turn. */
  private *take(message: Exclude<PixelMessage, { kind: 'end' }>): Generator<void> {
    if (message.kind !== this.request.source) {
      throw SaladError.field(
        'MESSAGE_UNEXPECTED',
        message.kind,
        `the header announced ${this.request.source}, not ${message.kind}`,
      );
    }
    try {
      if (message.kind === 'rows') yield* this.takeRows(message.firstRow, message.samples);
      else yield* this.takeTiles(message.tiles);
    } catch (error) {
      throw named(message.kind === 'rows' ? 'rows.samples' : 'tiles.tiles', error);
    }
  }

  private *takeRows(firstRow: number, samples: Uint8Array): Generator<void> {
    if (firstRow !== this.image.rowsReceived) {
      const why = `must be ${this.image.rowsReceived}, the next row not yet sent; is ${firstRow}`;
      throw SaladError.field('ROWS_OUT_OF_ORDER', 'rows.first_row', why);
    }
    for (const ready of this.image.rowSteps(samples)) {
      if (this.error !== undefined) return;
      this.enqueue(ready);
      yield;
    }
    for (let from = 0; from < samples.length; from += CHECKSUM_BYTES) {
      this.checksum = crc32c(samples.subarray(from, from + CHECKSUM_BYTES), this.checksum);
      yield;
    }
  }

  private *takeTiles(tiles: Extract<PixelMessage, { kind: 'tiles' }>['tiles']): Generator<void> {
    const ready: TilePosition[] = [];
    for (const { row, column, samples } of tiles) {
      if (this.error !== undefined) return;
      ready.push(...this.image.pushTile(row, column, samples));
      this.checksum = crc32c(samples, this.checksum);
      yield;
    }
    this.enqueue(ready);
  }

  private checkEnd(announced: number | undefined): void {
    if (announced === undefined || announced === this.checksum >>> 0) return;
    const why = `announced ${hex(announced)}, received samples have ${hex(this.checksum)}`;
    throw SaladError.field('CHECKSUM_MISMATCH', 'end.crc32c', why);
  }

  private finishReading(ended: boolean): void {
    this.endedEarly = !ended || !this.image.isComplete;
    if (this.endedEarly && this.request.options.earlyEnd === 'fail') {
      const missing = this.image.missingTiles().length;
      const total = this.model.geometry.tileCount;
      throw new SaladError(
        'ACQUISITION_INCOMPLETE',
        ended
          ? `end was sent before all pixels: ${missing} of ${total} tiles cannot be scored`
          : `the stream closed without end: ${missing} of ${total} tiles cannot be scored`,
      );
    }
    this.enqueue(this.image.complete());
    this.allRead = true;
    this.notify();
  }

  private enqueue(ready: readonly TilePosition[]): void {
    if (this.image.isUndecided) {
      this.held.push(...ready);
      return;
    }
    const released = this.held.length === 0 ? ready : [...this.held, ...ready];
    this.held = [];
    const { tileColumns, patchesPerTile } = this.model.geometry;
    const tiles: number[] = [];
    for (const { row, column } of released) {
      const background = this.image.backgroundPatches(row, column);
      this.results.skip(background);
      if (background.length < patchesPerTile) tiles.push(row * tileColumns + column);
    }
    if (tiles.length === 0) return;
    this.outstanding += tiles.length;
    this.stream?.enqueue(tiles);
  }

  private fill(tile: number, slot: TileSlot, index: number): void {
    const { tileColumns } = this.model.geometry;
    const arrays = slot.view(this.model.key);
    writeTile(arrays, index, this.image, Math.floor(tile / tileColumns), tile % tileColumns);
  }

  private deliver(tile: number, slot: TileSlot, index: number, batch: BatchReport, queueMs: number): void {
    const { alignments, patches } = slot.view(this.model.key);
    this.results.store(tile, patches, index, batch, queueMs);
    if (alignments.length === 0) return;
    const own = alignments.subarray(ALIGNMENT_NUMBERS * index, ALIGNMENT_NUMBERS * (index + 1));
    this.image.takeAlignment(fromNumbers(own));
  }

  private notify(): void {
    this.progress.open();
    if (this.isDone) this.whenDone?.();
  }

  private settle(): void {
    this.outstanding -= 1;
    this.notify();
  }
}

/** Imaging does not know the wire: what it refuses is named by the message it came in. */
function named(field: string, error: unknown): SaladError {
  const known = SaladError.from(error);
  if (known.kind !== 'invalidArgument' || known.fieldViolations.length > 0) return known;
  return new SaladError(known.reason, known.message, {
    cause: known,
    fieldViolations: [{ field, description: known.message }],
  });
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16).padStart(8, '0')}`;
}
