/** Opens DICOM files in decoder processes, one file in each process. Further files wait in order. */
import { stat } from 'node:fs/promises';
import { abortError, throwIfAborted } from '../../errors/abort.js';
import { SaladError } from '../../errors/index.js';
import type { PixelFormat } from '../../imaging/pixel-format/pixel-format.js';
import { type DicomDescription, type DicomFrame, type OpenOptions, refusalOf } from '../decode.js';
import { DecoderProcess } from './decoder-process.js';
import { type DecodingLimits, decodingBytes, frameLimits, KEPT_BYTES_MAX, openLimits } from './limits.js';
import type { StoredFile } from './messages.js';

export interface DicomDecoderOptions {
  /** Most processes. @default 2 */
  readonly processes?: number;
  /** An idle process is ended after this time. @default 15,000 */
  readonly idleMs?: number;
  /** Replaces the deadline that depends on the size of the image; for tests. */
  readonly deadlineMs?: number;
}

export interface FileOptions extends OpenOptions {
  readonly signal?: AbortSignal | undefined;
}

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

const PROCESSES = 2;
const IDLE_MS = 15_000;
const NONE = new Uint8Array(0);

interface Waiting {
  readonly begin: () => void;
  readonly fail: (error: SaladError) => void;
}

export class DicomDecoder {
  private readonly idle = new Map<DecoderProcess, NodeJS.Timeout>();
  private readonly processes = new Set<DecoderProcess>();
  private readonly waiting: Waiting[] = [];
  private inUse = 0;
  private closed = false;

  constructor(private readonly options: DicomDecoderOptions = {}) {}

  /**
   * Reads the header of a file; close what it returns.
   * @param bytes kept until the file is closed; not to be changed
   * @throws SaladError IMAGE_UNREADABLE where it cannot be parsed, IMAGE_TOO_LARGE, DECODING_LIMIT_EXCEEDED,
   *   DECODER_UNAVAILABLE; the reason of the signal
   */
  async open(bytes: Uint8Array, options: FileOptions): Promise<DicomFile> {
    return this.load(bytes, options);
  }

  /**
   * As `open`, for a file that the decoder process reads itself, so that this process never holds it.
   * @param options.bytes the size of the file where it is known: the file system of this process is then not asked
   * @throws as `open`; errors of the operating system
   */
  async openFile(
    path: string,
    { bytes, ...options }: FileOptions & { readonly bytes?: number },
  ): Promise<DicomFile> {
    return this.load({ path, bytes: bytes ?? (await stat(path)).size }, options);
  }

  private async load(
    source: Uint8Array | StoredFile,
    { signal, ...options }: FileOptions,
  ): Promise<DicomFile> {
    const file = new DicomFile(this, source, options);
    try {
      await file.load(signal);
    } catch (error) {
      file.close();
      throw error;
    }
    return file;
  }

  /** Ends all processes, also busy ones. No file can be opened afterwards. */
  async close(): Promise<void> {
    this.closed = true;
    for (const waiting of this.waiting.splice(0)) waiting.fail(closedError());
    const all = [...this.processes];
    for (const process of all) process.kill();
    for (const timer of this.idle.values()) clearTimeout(timer);
    this.idle.clear();
    await Promise.all(all.map((process) => process.whenExited()));
  }

  /** Process ids of the decoder processes that run. */
  get pids(): readonly number[] {
    return [...this.processes].flatMap(({ pid, isUsable }) => (isUsable && pid !== undefined ? [pid] : []));
  }

  /** @internal Reserves a process for one file; release it with `release`. */
  async lease(signal: AbortSignal | undefined): Promise<DecoderProcess> {
    if (this.closed) throw closedError();
    await this.waitForTurn(signal);
    try {
      return this.takeIdle() ?? (await this.start());
    } catch (error) {
      this.endTurn();
      throw error;
    }
  }

  /** @internal */
  release(process: DecoderProcess): void {
    if (process.isUsable && !this.closed) {
      const timer = setTimeout(() => this.discard(process), this.options.idleMs ?? IDLE_MS);
      timer.unref();
      this.idle.set(process, timer);
    } else this.discard(process);
    this.endTurn();
  }

  /** @internal */
  deadlineOf(limits: DecodingLimits): number {
    return this.options.deadlineMs ?? limits.deadlineMs;
  }

  private async start(): Promise<DecoderProcess> {
    const process = await DecoderProcess.start();
    this.processes.add(process);
    if (!this.closed) return process;
    this.discard(process);
    throw closedError();
  }

  private takeIdle(): DecoderProcess | undefined {
    for (const [process, timer] of this.idle) {
      clearTimeout(timer);
      this.idle.delete(process);
      if (process.isUsable) return process;
      this.processes.delete(process);
    }
    return undefined;
  }

  private discard(process: DecoderProcess): void {
    this.idle.delete(process);
    this.processes.delete(process);
    process.kill();
  }

  private waitForTurn(signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal);
    if (this.inUse < (this.options.processes ?? PROCESSES)) {
      this.inUse += 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.waiting.splice(this.waiting.indexOf(waiting), 1);
        reject(abortError(signal));
      };
      const waiting: Waiting = {
        begin: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
        fail: reject,
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.waiting.push(waiting);
    });
  }

  private endTurn(): void {
    const next = this.waiting.shift();
    if (next === undefined) this.inUse -= 1;
    else next.begin();
  }
}

function closedError(): SaladError {
  return new SaladError('CANCELLED', 'the DICOM decoder is closed');
}

/** An open file, which holds a process until it is closed. One call at a time. */
export class DicomFile {
  private opened: DicomDescription | undefined;
  private process: DecoderProcess | undefined;
  /** Memory of the process after its last frame. */
  private memoryBytes = 0;
  /** Whether the process has this file open. */
  private isLoaded = false;

  constructor(
    private readonly decoder: DicomDecoder,
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
    const deadlineMs = this.decoder.deadlineOf(limits);
    const request = { type: 'frame', frame, inParts, growthBytesMax } as const;
    const { reply, payload } = await process.request(request, NONE, deadlineMs, signal);
    if (reply.type !== 'frame') throw new SaladError('INTERNAL', `the decoder answered ${reply.type}`);
    this.memoryBytes = reply.memoryBytes;
    return { format: reply.format, samples: payload, process, deadlineMs };
  }

  /** @internal Sends the file to a process. */
  async load(signal: AbortSignal | undefined): Promise<void> {
    this.close();
    this.process = await this.decoder.lease(signal);
    const limits = openLimits(this.bytes, this.options.maxPixels);
    const { growthBytesMax } = limits;
    const { source } = this;
    const isHere = source instanceof Uint8Array;
    const { reply } = await this.process.request(
      { type: 'open', options: this.options, growthBytesMax, ...(isHere ? {} : { file: source }) },
      isHere ? source : NONE,
      this.decoder.deadlineOf(limits),
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
    this.decoder.release(process);
  }
}

let shared: DicomDecoder | undefined;

/** The decoder for programs without a server. It does not prevent the exit of the program. */
export function sharedDicomDecoder(): DicomDecoder {
  shared ??= new DicomDecoder();
  return shared;
}
