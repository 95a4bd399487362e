/** An open DICOM file, which a decoder process reads. */
import { SaladError } from '../../errors/index.js';
import type { PixelFormat } from '../../imaging/pixel-format/pixel-format.js';
import { type DicomDescription, type DicomFrame, type OpenOptions, refusalOf } from '../decode.js';
import type { DecoderProcess } from './decoder-process.js';
import { type DecodingLimits, decodingBytes, frameLimits, KEPT_BYTES_MAX, openLimits } from './limits.js';
import type { StoredFile } from './messages.js';

export interface FrameOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called before decoding with the most bytes that it takes; may throw. */
  readonly reserve?: (bytes: number) => void;
}

/** A decoded frame in the decoder process. */
export interface DicomFrameParts {
  readonly format: PixelFormat;
  /**
   * Samples of rows, as those of `DicomFrame`.
   * @param end exclusive @throws SaladError DECODER_UNAVAILABLE where the process has ended; the reason of the signal
   */
  rows(first: number, end: number): Promise<Uint8Array>;
}

/** Lends decoder processes. */
export interface DecoderProcesses {
  /** Reserves a process until `release`. @throws SaladError CANCELLED; the reason of the signal */
  lease(signal: AbortSignal | undefined): Promise<DecoderProcess>;
  release(process: DecoderProcess): void;
  /** Longest time of a request, in ms. */
  deadlineOf(limits: DecodingLimits): number;
}

const NONE = new Uint8Array(0);

/** An open file, which holds a process until it is closed. One call at a time. */
export class DicomFile {
  private opened: DicomDescription | undefined;
  private process: DecoderProcess | undefined;
  /** Memory of the process after its last frame. */
  private memoryBytes = 0;
  /** Whether the process has this file open. */
  private isLoaded = false;

  constructor(
    private readonly processes: DecoderProcesses,
    private readonly source: Uint8Array | StoredFile,
    private readonly options: OpenOptions,
  ) {}

  private get bytes(): number {
    return this.source instanceof Uint8Array ? this.source.byteLength : this.source.bytes;
  }

  get description(): DicomDescription {
    return this.opened!;
  }

  /** 1 or more. */
  get frames(): number {
    return this.description.facts.frames;
  }

  /** @throws SaladError DICOM_UNSUPPORTED, IMAGE_TOO_LARGE if the file cannot be scored */
  refuseUnscorable(): void {
    if (this.description.facts.reasons.length > 0) throw refusalOf(this.description, this.options.maxPixels);
  }

  /**
   * Decodes a frame. After an error later frames are decoded in a new process.
   * @param frame from 0
   * @throws SaladError DICOM_UNSUPPORTED, IMAGE_TOO_LARGE, IMAGE_UNREADABLE, DECODING_LIMIT_EXCEEDED,
   *   DECODER_UNAVAILABLE; what `reserve` throws; the reason of the signal
   */
  async frame(frame: number, options: FrameOptions = {}): Promise<DicomFrame> {
    const { format, samples } = await this.decode(frame, false, options);
    return { format, samples };
  }

  /**
   * Decodes a frame that stays in the decoder process and is read in parts, so that this process never holds it. Read it
   * before the next frame is decoded and before the file is closed.
   * @throws as `frame`
   */
  async frameInParts(frame: number, options: FrameOptions = {}): Promise<DicomFrameParts> {
    const { format, process, deadlineMs } = await this.decode(frame, true, options);
    let earlier: Promise<unknown> = Promise.resolve();
    return {
      format,
      rows: (first, end) => {
        // A process takes one request at a time, but a source that was given up may still wait for its rows.
        const own = earlier
          .catch(() => {})
          .then(() => process.request({ type: 'rows', first, end }, NONE, deadlineMs, options.signal));
        earlier = own;
        return own.then(({ payload }) => payload);
      },
    };
  }

  private async decode(frame: number, inParts: boolean, { signal, reserve }: FrameOptions) {
    this.refuseUnscorable();
    const { facts } = this.description;
    reserve?.(decodingBytes(facts));
    if (!this.isLoaded || this.process?.isUsable !== true) await this.load(signal);
    const limits = frameLimits(this.bytes, facts);
    const { growthBytesMax } = limits;
    const process = this.process!;
    const deadlineMs = this.processes.deadlineOf(limits);
    const request = { type: 'frame', frame, inParts, growthBytesMax } as const;
    const { reply, payload } = await process.request(request, NONE, deadlineMs, signal);
    if (reply.type !== 'frame') throw new SaladError('INTERNAL', `the decoder answered ${reply.type}`);
    this.memoryBytes = reply.memoryBytes;
    return { format: reply.format, samples: payload, process, deadlineMs };
  }

  /** @internal Sends the file to a process. */
  async load(signal: AbortSignal | undefined): Promise<void> {
    this.close();
    this.process = await this.processes.lease(signal);
    const limits = openLimits(this.bytes, this.options.maxPixels);
    const { growthBytesMax } = limits;
    const { source } = this;
    const isHere = source instanceof Uint8Array;
    const { reply } = await this.process.request(
      { type: 'open', options: this.options, growthBytesMax, ...(isHere ? {} : { file: source }) },
      isHere ? source : NONE,
      this.processes.deadlineOf(limits),
      signal,
    );
    if (reply.type !== 'opened') throw new SaladError('INTERNAL', `the decoder answered ${reply.type}`);
    this.opened = reply.description;
    this.isLoaded = true;
  }

  /** Releases the process; idempotent. */
  close(): void {
    this.isLoaded = false;
    const process = this.process;
    this.process = undefined;
    if (process === undefined) return;
    if (this.memoryBytes > KEPT_BYTES_MAX) process.kill();
    this.processes.release(process);
  }
}
