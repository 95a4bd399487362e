/** The state of one acquisition: it receives pixels, queues ready tiles, and collects their results. */
import { crc32c } from '@node-rs/crc32';
import type { BatchReport, TileStream } from '../batching/index.js';
import type { EngineName } from '../engines/engine.js';
import { SaladError } from '../errors/index.js';
import { alignsInTile } from '../geometry/geometry.js';
import type { TileIndex } from '../geometry/tile-index.js';
import { ALIGNMENT_NUMBERS, fromNumbers } from '../imaging/alignment/alignment-map.js';
import { writeTile } from '../imaging/working-image/batch-tiles.js';
import { WorkingImage } from '../imaging/working-image/working-image.js';
import { Latch } from '../util/latch.js';
import { inTurns } from '../util/turns.js';
import type { AcquisitionOutcome } from './outcome.js';
import { PatchResults } from './patch-results.js';
import type { AcquisitionEvent, AcquisitionRequest, PixelMessage, ServedModel, TileSlot } from './types.js';

/** Bytes whose checksum is computed in one step: a fraction of a millisecond. */
const CHECKSUM_BYTES = 4 * 1024 * 1024;

export class AcquisitionRun {
  readonly image: WorkingImage;
  readonly results: PatchResults;
  readonly progress = new Latch();
  /** The engine named in `accepted`; after a fail-over another one scores. */
  readonly announcedEngine: EngineName;
  private readonly startedAt: number;
  private readonly now: () => number;
  private stream: TileStream | undefined;
  /** Queued tiles that were neither scored nor have failed. */
  private outstanding = 0;
  /** Ready tiles that are not queued until the image is known to have structure (see `ImageContent`). */
  private held: TileIndex[] = [];
  private failedPatches = 0;
  private failure: string | undefined;
  private firstScoreAt: number | undefined;
  private isReadingDone = false;
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
    return this.error !== undefined || (this.isReadingDone && this.outstanding === 0);
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

  /** Reads all pixel messages. Never rejects: `throwIfFailed` throws a failure. */
  async read(pixels: AsyncIterable<PixelMessage>): Promise<void> {
    try {
      let ended = false;
      for await (const message of pixels) {
        if (this.error !== undefined) return;
        if (ended) throw new SaladError('MESSAGE_UNEXPECTED', 'a message came after end');
        if (message.kind === 'end') {
          this.checkEnd(message.crc32c);
          ended = true;
          // Not after the loop: a client that does not close its side of the stream also gets its aggregate.
          this.finishReading(true);
        } else {
          await inTurns(this.receive(message));
        }
      }
      if (!ended) this.finishReading(false);
    } catch (error) {
      this.abort(SaladError.from(error));
    }
  }

  /** Patches scored since the last call: at most `max`, but at least one tile. */
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

  /** Processes a message in steps, so that a large message does not delay other streams. */
  private *receive(message: Exclude<PixelMessage, { kind: 'end' }>): Generator<void> {
    if (message.kind !== this.request.source) {
      throw SaladError.field(
        'MESSAGE_UNEXPECTED',
        message.kind,
        `the header announced ${this.request.source}, not ${message.kind}`,
      );
    }
    try {
      if (message.kind === 'rows') yield* this.receiveRows(message.firstRow, message.samples);
      else yield* this.receiveTiles(message.tiles);
    } catch (error) {
      throw withField(message.kind === 'rows' ? 'rows.samples' : 'tiles.tiles', error);
    }
  }

  private *receiveRows(firstRow: number, samples: Uint8Array): Generator<void> {
    if (firstRow !== this.image.rowsReceived) {
      const why = `must be ${this.image.rowsReceived}, the row after the last one received, and is ${firstRow}: send rows in order`;
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

  private *receiveTiles(tiles: Extract<PixelMessage, { kind: 'tiles' }>['tiles']): Generator<void> {
    const ready: TileIndex[] = [];
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
    this.isReadingDone = true;
    this.notify();
  }

  private enqueue(ready: readonly TileIndex[]): void {
    if (this.image.isUndecided) {
      this.held.push(...ready);
      return;
    }
    const released = this.held.length === 0 ? ready : [...this.held, ...ready];
    this.held = [];
    const { patchesPerTile } = this.model.geometry;
    const tiles: TileIndex[] = [];
    for (const tile of released) {
      const background = this.image.backgroundPatches(tile);
      this.results.skip(background);
      if (background.length < patchesPerTile) tiles.push(tile);
    }
    if (tiles.length === 0) return;
    this.outstanding += tiles.length;
    this.stream?.enqueue(tiles);
  }

  private fill(tile: TileIndex, slot: TileSlot, index: number): void {
    writeTile(slot.view(this.model.key), index, this.image, tile);
  }

  private deliver(tile: TileIndex, slot: TileSlot, index: number, batch: BatchReport, queueMs: number): void {
    const { alignments, patches } = slot.view(this.model.key);
    this.results.store(tile, patches, index, batch, queueMs);
    if (alignments.length === 0) return;
    const numbers = alignments.subarray(ALIGNMENT_NUMBERS * index, ALIGNMENT_NUMBERS * (index + 1));
    this.image.setAlignment(fromNumbers(numbers));
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

/** Adds the field of the message to an error of `imaging`, which does not depend on the wire format. */
function withField(field: string, thrown: unknown): SaladError {
  const error = SaladError.from(thrown);
  if (error.kind !== 'invalidArgument' || error.fieldViolations.length > 0) return error;
  return new SaladError(error.reason, error.message, {
    cause: error,
    fieldViolations: [{ field, description: error.message }],
  });
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16).padStart(8, '0')}`;
}
